"""For terminals and readers without Unicode: everything that is drawn, in ASCII.

A filter over painted lines, so that no part of the screen can be forgotten. Cells keep their width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from textual.filter import LineFilter

if TYPE_CHECKING:
    from textual.color import Color

BRAILLE, BLOCKS = range(0x2800, 0x2900), range(0x2580, 0x25A0)
LEVELS = " .:-=+*#%"
"""A braille cell of eight dots, from none to all."""
LINES = str.maketrans("─━═│┃║┌┐└┘├┤┬┴┼╭╮╰╯▪•…⏎▶▼", "---|||+++++++++++++**.>>v")


class AsciiFilter(LineFilter):
    """Replaces what is not ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line in ASCII."""
        del background
        return [
            segment if segment.text.isascii() else Segment(in_ascii(segment.text), segment.style)
            for segment in segments
        ]


@lru_cache(4096)
def in_ascii(text: str) -> str:
    """A text of the same width: lines as - and |, bars as levels, letters of others as ?."""
    return "".join(map(_sign, text.translate(LINES)))


def _sign(letter: str) -> str:
    code = ord(letter)
    if code < 128:
        return letter
    if code in BRAILLE:
        return LEVELS[(code - BRAILLE.start).bit_count()]
    return "#" if code in BLOCKS else "?" * cell_len(letter)
