"""All keys and columns, read off what they are made from, so that the lists can't be wrong."""

from __future__ import annotations

from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mlxconsole.ui import link_table, rank_columns
from mlxconsole.ui.commands import shown_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult

KEY_WIDTH, COLUMN_WIDTH, GAP = 15, 40, 2
AROUND = 6
"""Cells that the border, the padding and the scroll bar take."""
INDENT = "  "
NAME_WIDTH = 12
HINT = "j k g scroll, G columns, Escape closes"


def key_lines(bindings: Iterable[BindingType]) -> list[str]:
    """One line per binding that has an id: its keys, what it does."""
    return [
        f"{shown_key(binding.key):<{KEY_WIDTH}} {binding.description}"
        for binding in bindings
        if isinstance(binding, Binding) and binding.id
    ]


def legend() -> list[str]:
    """What the columns of the tables mean, and their units."""
    ranks = {column.title: column.means for column in rank_columns.COLUMNS}
    made: list[str] = []
    for title, means in (("Columns: ranks", ranks), ("Columns: links", link_table.MEANS)):
        made += [title, *(line for name in means for line in _meaning(name, means[name])), ""]
    return made


def _meaning(name: str, means: str) -> list[str]:
    first, *rest = wrap(means, COLUMN_WIDTH - len(INDENT) - NAME_WIDTH - 1)
    return [
        f"{INDENT}{name:<{NAME_WIDTH}} {first}",
        *(f"{INDENT}{'':<{NAME_WIDTH}} {line}" for line in rest),
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
        Binding("g", "scroll(-1_000_000)", "First line", id="help.first", show=False),
        Binding("G", "scroll(1_000_000)", "Last line", id="help.last", show=False),
    ]

    def __init__(self, sections: dict[str, list[BindingType]]) -> None:
        super().__init__()
        self.lines: list[str] = []
        """What it says, before it is laid out in columns."""
        for title, bindings in sections.items():
            self.lines += [title, *(f"{INDENT}{line}" for line in key_lines(bindings)), ""]
        self.lines += legend()
        self._text = Static("", markup=False)

    def compose(self) -> ComposeResult:
        """A section per part of the screen."""
        with VerticalScroll(id="help") as box:
            box.border_title, box.border_subtitle = "Keys and columns", HINT
            yield self._text

    def on_resize(self) -> None:
        """As many columns as fit."""
        count = max((self.size.width - AROUND + GAP) // (COLUMN_WIDTH + GAP), 1)
        self.query_one("#help").styles.width = count * (COLUMN_WIDTH + GAP) - GAP + AROUND
        self._text.update("\n".join(in_columns(self.lines[:-1], count)))

    def action_scroll(self, step: int) -> None:
        """Some lines down or up."""
        self.query_one("#help").scroll_relative(y=step, animate=False)
