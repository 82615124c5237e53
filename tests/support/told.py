"""Stands where an operator is told what a rank does, and keeps it."""

from __future__ import annotations


class LoadingOnly:
    """Keeps the reasons of LOADING; anything else that is told is a fault."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def state(self, state: str, reason: str = "") -> None:
        """A new state."""
        assert state == "LOADING"
        self.texts.append(reason)

    def event(self, kind: str, text: str) -> None:
        """Something happened."""
        raise AssertionError(f"no event belongs here: {kind}, {text}")
