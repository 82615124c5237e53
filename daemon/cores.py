"""Which processor cores the ranks of one host use. Knows no mlx; any thread."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import SettingsError

if TYPE_CHECKING:
    from daemon.settings import Settings


@dataclass(frozen=True)
class Cores:
    """What one rank may use."""

    threads: int
    """That compute at the same time."""
    own: tuple[int, ...] = ()
    """Cores of this rank alone; empty: the system places its threads."""

    @staticmethod
    def of(settings: Settings, rank: int) -> Cores:
        """The part of ``rank``, among the ranks of its host.

        Raises:
            SettingsError: ranks are to be pinned where that can't be done.
        """
        engine, host = settings.engine, settings.ranks[rank].host
        local = [r for r, part in enumerate(settings.ranks) if part.host == host]
        allowed = allowed_cores()
        if not engine.pin:
            return Cores(engine.threads or max(1, len(allowed) // len(local)))
        own = _own(local.index(rank), len(local), engine.threads, allowed)
        return Cores(engine.threads or len(own), own)

    def pin(self) -> None:
        """Keep this thread, and those that are started from now on, to the rank's own cores."""
        if self.own and sys.platform == "linux":
            os.sched_setaffinity(0, self.own)


def allowed_cores() -> list[int]:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _own(index: int, ranks: int, threads: int, allowed: list[int]) -> tuple[int, ...]:
    if sys.platform != "linux":
        raise SettingsError("engine.pin: only Linux can keep a rank to its cores; leave out --pin")
    each = threads or max(1, len(allowed) // ranks)
    if each * ranks > len(allowed):
        raise SettingsError(
            f"engine.pin: {ranks} ranks of {each} cores each need {each * ranks}, and this machine "
            f"offers {len(allowed)}: use fewer ranks or threads, or leave out --pin"
        )
    return tuple(allowed[index * each : (index + 1) * each])
