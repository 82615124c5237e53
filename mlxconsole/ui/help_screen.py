"""All keys, read off the bindings themselves, so that the list can't be wrong."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mlxconsole.ui.commands import shown_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult

KEY_WIDTH, COLUMN_WIDTH, GAP = 15, 40, 2
AROUND = 6
"""Cells that the border, the padding and the scroll bar take."""
HINT = "j k scroll, Escape closes"


def key_lines(bindings: Iterable[BindingType]) -> list[str]:
    """One line per binding that has an id: its keys, what it does."""
    return [
        f"{shown_key(binding.key):<{KEY_WIDTH}} {binding.description}"
        for binding in bindings
        if isinstance(binding, Binding) and binding.id
    ]


def in_columns(lines: Sequence[str], count: int) -> list[str]:
    """The lines down one column, then down the next, as in a newspaper."""
    height = -(-len(lines) // count)
    columns = [lines[at : at + height] for at in range(0, len(lines), height)]
    gap = " " * GAP
    return [
        gap.join(f"{cell:<{COLUMN_WIDTH}}" for cell in row).rstrip()
        for row in zip_longest(*columns, fillvalue="")
    ]


class HelpScreen(ModalScreen[None]):
    """Closed by any of the keys that open or leave."""

    CSS_PATH = "help_screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close", id="help.close"),
        Binding("j", "scroll(1)", "Down", id="help.down", show=False),
        Binding("k", "scroll(-1)", "Up", id="help.up", show=False),
    ]

    def __init__(self, sections: dict[str, list[BindingType]]) -> None:
        super().__init__()
        self._lines: list[str] = []
        for title, bindings in sections.items():
            self._lines += [title, *(f"  {line}" for line in key_lines(bindings)), ""]
        self._text = Static("", markup=False)

    def compose(self) -> ComposeResult:
        """A section per part of the screen."""
        with VerticalScroll(id="help") as box:
            box.border_title, box.border_subtitle = "Keys", HINT
            yield self._text

    def on_resize(self) -> None:
        """As many columns as fit."""
        count = max((self.size.width - AROUND + GAP) // (COLUMN_WIDTH + GAP), 1)
        self.query_one("#help").styles.width = count * (COLUMN_WIDTH + GAP) - GAP + AROUND
        self._text.update("\n".join(in_columns(self._lines[:-1], count)))

    def action_scroll(self, step: int) -> None:
        """A line down or up."""
        self.query_one("#help").scroll_relative(y=step, animate=False)
