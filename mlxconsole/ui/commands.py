"""Everything that keys do, by name: what the command line and the palette offer.

Read off the bindings, so that nothing can be missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from textual.dom import DOMNode


@dataclass(frozen=True)
class Command:
    """One action of one part of the screen."""

    name: str
    text: str
    keys: str
    action: str
    owner: DOMNode

    async def run(self) -> None:
        """Do it."""
        await self.owner.app.run_action(self.action, self.owner)


def shown_key(key: str) -> str:
    """A key as it stands on the keyboard."""
    for name, sign in SIGNS.items():
        key = key.replace(name, sign)
    return key.replace(",", " ")


SIGNS = {
    "question_mark": "?",
    "slash": "/",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "minus": "-",
    "colon": ":",
    "left_square_bracket": "[",
    "left_curly_bracket": "{",
    "right_square_bracket": "]",
    "right_curly_bracket": "}",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
}


def commands(owner: DOMNode, bindings: Iterable[BindingType]) -> list[Command]:
    """The commands that these bindings of ``owner`` make; without those it refuses now."""
    return [
        Command(b.id, b.description, shown_key(b.key), b.action, owner)
        for b in bindings
        if isinstance(b, Binding) and b.id and owner.check_action(b.action.split("(")[0], ())
    ]


def named(name: str, known: list[Command]) -> Command | str:
    """The command of this name or of which it is the only beginning; otherwise what is wrong."""
    exact = [command for command in known if command.name == name]
    found = exact or [command for command in known if command.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        return f"{name}: could be {', '.join(command.name for command in found[:5])}"
    return f"{name}: no such command; Tab in the palette (ctrl+p) lists all"


class Palette(Provider):
    """The commands of the screen that opened the palette."""

    async def discover(self) -> AsyncIterator[DiscoveryHit]:
        """All of them."""
        for command in self._commands():
            yield DiscoveryHit(self._label(command), command.run)

    async def search(self, query: str) -> AsyncIterator[Hit]:
        """Those that the text fits."""
        matcher = self.matcher(query)
        for command in self._commands():
            score = matcher.match(label := self._label(command))
            if score > 0:
                yield Hit(score, matcher.highlight(label), command.run)

    def _commands(self) -> list[Command]:
        offered = getattr(self.screen, "commands", None)
        return offered() if offered else []

    @staticmethod
    def _label(command: Command) -> str:
        return f"{command.text} ({command.name}, {command.keys})"
