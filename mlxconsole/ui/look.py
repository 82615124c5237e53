"""How the console looks: its colours, and whether it keeps to ASCII.

Words and glyphs say everything without any colour.
"""

from __future__ import annotations

import locale
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "MLXCONSOLE_ASCII"

COLOUR_BLIND = Theme(
    name="colour-blind",
    # Okabe and Ito's palette: told apart with every common form of colour blindness.
    primary="#56b4e9",
    secondary="#0072b2",
    accent="#cc79a7",
    success="#56b4e9",
    warning="#f0e442",
    error="#d55e00",
    foreground="#e6e6e6",
    background="#101010",
    surface="#1c1c1c",
    panel="#2a2a2a",
    dark=True,
)
THEMES = ("textual-dark", "textual-light", COLOUR_BLIND.name)
"""In the order in which the key goes through them."""


@dataclass(frozen=True)
class Look:
    """What an operator chose."""

    theme: str = ""
    """One of `THEMES`; empty: the first."""
    ascii: bool = False
    """Draw nothing but ASCII."""


def wants_ascii(environ: Mapping[str, str] = os.environ, encoding: str | None = None) -> bool:
    """What the environment says; without a word of it, whether the terminal is not Unicode's."""
    told = environ.get(VARIABLE, "").lower()
    if told:
        return told not in {"0", "false", "no"}
    used = encoding or locale.getpreferredencoding(do_setlocale=False)
    return "utf" not in used.lower()
