"""What nearly all ranks printed and one did not, or one alone: "7 of 8 ranks printed X".

Pure: log lines in, sentences out. Lines are compared by their form: numbers, ids and times are
taken out, since those differ from rank to rank anyway.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mlxconsole.log_entry import LogEntry

LEAST_RANKS = 3
"""With two ranks nobody can say which of them is odd."""
_VARIABLE = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|[a-z]+_[0-9a-f]{8,}\b|\d+(\.\d+)?", re.I)
_SHOWN = 70


@dataclass(frozen=True, slots=True)
class Oddity:
    """One form of a line that all ranks but few, or few ranks alone, have printed."""

    form: str
    printed: tuple[int, ...]
    silent: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """In words."""
        form = self.form if len(self.form) <= _SHOWN else self.form[: _SHOWN - 1] + "+"
        total = len(self.printed) + len(self.silent)
        if len(self.silent) <= len(self.printed):
            return (
                f"{len(self.printed)} of {total} ranks printed {form!r}, "
                f"{_ranks(self.silent)} did not."
            )
        return f"Only {_ranks(self.printed)} of {total} printed {form!r}."


def form(entry: LogEntry) -> str:
    """The line without what differs from rank to rank."""
    return f"{entry.source} {_VARIABLE.sub('#', entry.text)}"


def odd_ones_out(
    entries: Iterable[LogEntry], ranks: Collection[int], since_s: float, until_s: float
) -> list[Oddity]:
    """Forms that divide the ranks, the most telling first.

    Lines of the API and of rank 0's own duties are left out when only rank 0 has them.

    Args:
        entries: the merged log.
        ranks: all that there are.
        since_s: unix time of the oldest line that counts.
        until_s: of the newest: others may be about to print what one printed just now.
    """
    if len(ranks) < LEAST_RANKS:
        return []
    printed, bad = defaultdict[str, set[int]](set), set[str]()
    for entry in entries:
        if since_s <= entry.time_s <= until_s and entry.rank in ranks:
            key = form(entry)
            printed[key].add(entry.rank)
            if entry.level in {"WARNING", "ERROR", "CRITICAL"}:
                bad.add(key)
    few = max(1, len(ranks) // 8)
    found: list[Oddity] = []
    for key, who in printed.items():
        rest = set(ranks) - who
        most_did = 0 < len(rest) <= few
        alone_in_trouble = len(who) <= few and key in bad
        if most_did or alone_in_trouble:
            found.append(Oddity(key, tuple(sorted(who)), tuple(sorted(rest))))
    return sorted(found, key=lambda one: (one.form not in bad, len(one.silent), one.form))


def _ranks(numbers: Collection[int]) -> str:
    return f"rank{'s' if len(numbers) != 1 else ''} {', '.join(map(str, numbers))}"
