"""All keys, read off the bindings themselves, so that the list can't be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mlxconsole.ui.commands import shown_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult


def key_lines(bindings: Iterable[BindingType]) -> list[str]:
    """One line per binding that has an id: its keys, what it does."""
    return [
        f"{shown_key(binding.key):<16} {binding.description}"
        for binding in bindings
        if isinstance(binding, Binding) and binding.id
    ]


class HelpScreen(ModalScreen[None]):
    """Closed by any of the keys that open or leave."""

    CSS_PATH = "help_screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close", id="help.close"),
    ]

    def __init__(self, sections: dict[str, list[BindingType]]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        """A section per part of the screen."""
        lines: list[str] = []
        for title, bindings in self._sections.items():
            lines += [title, *(f"  {line}" for line in key_lines(bindings)), ""]
        with VerticalScroll(id="help"):
            yield Static("\n".join(lines).rstrip(), markup=False)
