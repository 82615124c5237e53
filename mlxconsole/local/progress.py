"""Shows how a start gets on: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping


class Progress:
    """Keeps the last state of every part and prints what changed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._shown: dict[str, str] = {}
        self._open = False
        """A rewritable line stands on the terminal."""

    def show(self, parts: Mapping[str, str]) -> None:
        """Take the present state of each part, such as ``{"rank 0": "LOADING 3/8"}``."""
        changed = {name: text for name, text in parts.items() if self._shown.get(name) != text}
        if not changed:
            return
        self._shown |= changed
        if self._live:
            self._rewrite(" | ".join(f"{name} {text}" for name, text in self._shown.items()))
        else:
            for name, text in changed.items():
                self._write(f"{name}: {text}\n")

    def note(self, text: str) -> None:
        """Say something on a line of its own."""
        self.end()
        self._write(f"{text}\n")

    def end(self) -> None:
        """Leave the line as it stands; what follows begins on a new one."""
        if self._open:
            self._write("\n")
            self._open = False

    def _rewrite(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._write("\r\x1b[K" + (line if len(line) <= width else line[: width - 3] + "..."))
        self._open = True

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
