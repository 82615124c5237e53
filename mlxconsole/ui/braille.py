"""Bars of braille dots: two values to a column, four dots to a line. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EMPTY = 0x2800
LEFT, RIGHT = (0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08)
"""Bits of a column's dots from the bottom up."""


def bars(values: Sequence[float | None], width: int, height: int, top: float) -> list[str]:
    """The last ``2 * width`` values against the right edge, ``top`` at full height.

    A value of zero is one dot, None is none: a gap.
    """
    recent = list(values[max(len(values) - 2 * width, 0) :])
    levels = [0] * (2 * width - len(recent)) + [_level(v, 4 * height, top) for v in recent]
    return [
        "".join(
            chr(EMPTY + _bits(levels[x], LEFT, 4 * row) + _bits(levels[x + 1], RIGHT, 4 * row))
            for x in range(0, 2 * width, 2)
        )
        for row in range(height - 1, -1, -1)
    ]


def _level(value: float | None, most: int, top: float) -> int:
    if value is None:
        return 0
    return max(1, min(most, round(most * value / top))) if top > 0 else 1


def _bits(level: int, dots: tuple[int, ...], below: int) -> int:
    return sum(dots[: max(0, min(4, level - below))])
