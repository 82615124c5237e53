"""Finds marks (stop strings, section tags) in text that arrives in pieces.

Owns the hold-back: text that may be the beginning of a mark is not given out yet. The result does
not depend on how the text was cut into pieces.
"""

from __future__ import annotations


class MarkScanner:
    """Watches one stream of text for several marks; the one that is complete first wins."""

    def __init__(self, marks: tuple[str, ...] = ()) -> None:
        self.held = ""
        """Text after what was given out: may begin a mark, or follows a found one."""
        self.watch(marks)

    def watch(self, marks: tuple[str, ...]) -> None:
        """Look for other marks from here on; held text is looked at again by the next `feed`."""
        self._marks = tuple(mark for mark in marks if mark)
        self._reach = max((len(mark) for mark in self._marks), default=1) - 1

    def feed(self, text: str) -> tuple[str, str | None]:
        """Text that is certain, and the mark that ends it, if one is complete.

        After a mark, feed again (with nothing) for what follows it.
        """
        text = self.held + text
        if not self._marks:
            self.held = ""
            return text, None
        found = self._first(text)
        if found is not None:
            start, mark = found
            self.held = text[start + len(mark) :]
            return text[:start], mark
        keep = self._undecided(text)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    def flush(self) -> str:
        """The held text: no more will come."""
        text, self.held = self.held, ""
        return text

    def _first(self, text: str) -> tuple[int, str] | None:
        best: tuple[int, int, str] | None = None
        for mark in self._marks:
            start = text.find(mark)
            if start >= 0:
                candidate = (start + len(mark), start, mark)
                best = candidate if best is None else min(best, candidate)
        return None if best is None else (best[1], best[2])

    def _undecided(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins a mark."""
        for size in range(min(self._reach, len(text)), 0, -1):
            end = text[-size:]
            if any(mark.startswith(end) for mark in self._marks):
                return size
        return 0
