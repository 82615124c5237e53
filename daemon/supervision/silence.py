"""Notices a child that lives and says nothing: stopped, or wedged under Python's own lock.

A child's reporter says something at least twice a second, from a thread of its own. Pure; the
supervisor's event loop looks.
"""

from __future__ import annotations

import math

LOOK_S = 0.25
FIRST_WORD_S = 30.0
"""A child that has not begun to speak is importing, perhaps from a slow disk."""


class Silence:
    """Counts looks without a word.

    Looks, not seconds: a supervisor that was itself held up has not looked, and blames nobody.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience = math.ceil(patience_s / LOOK_S)
        self._has_spoken = False
        self._quiet_looks = 0

    def heard(self) -> None:
        """The child said something."""
        self._has_spoken = True
        self._quiet_looks = 0

    def look(self, process_state: str) -> bool:
        """Look once; whether the child is stuck.

        Args:
            process_state: as psutil names it. Who waits for a disk can't speak and is excused;
                who is stopped never has a reason to be.
        """
        if process_state == "disk-sleep":
            return False
        self._quiet_looks += 1
        knows_patience = self._has_spoken or process_state == "stopped"
        limit = self._patience if knows_patience else math.ceil(FIRST_WORD_S / LOOK_S)
        return self._quiet_looks >= limit

    def describe(self, process_state: str) -> str:
        """What is wrong, in words."""
        why = " (it is stopped)" if process_state == "stopped" else ""
        return f"no report for {self._quiet_looks * LOOK_S:.1f} s{why}"
