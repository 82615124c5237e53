"""How long a child's return took, part by part, for the history. Pure."""

from __future__ import annotations

_WORKER = {
    "STARTED": "a new process",
    "JOINING": "imports and model card",
    "LOADING": "links and plan",
    "READY": "layers",
}
_API = {"STARTED": "a new process", "LOADING": "imports", "READY": "tokenizer"}


class Comeback:
    """From the end of one process of a child to the readiness of the next; monotonic seconds."""

    def __init__(self, ended_s: float) -> None:
        self._ended_s = ended_s
        self._marks: list[tuple[str, float]] = []

    def reached(self, state: str, now_s: float) -> None:
        """It is in a state now; the first time counts. ``STARTED`` begins anew."""
        if state == "STARTED":
            self._marks.clear()
        if all(state != known for known, _ in self._marks):
            self._marks.append((state, now_s))

    def describe(self) -> str:
        """All of it, and its parts."""
        words = _WORKER if any(state == "JOINING" for state, _ in self._marks) else _API
        before_s, parts = self._ended_s, list[str]()
        for state, now_s in self._marks:
            if state in words:
                parts.append(f"{words[state]} {now_s - before_s:.3f} s")
                before_s = now_s
        return f"{before_s - self._ended_s:.3f} s after the end of the last: {', '.join(parts)}"
