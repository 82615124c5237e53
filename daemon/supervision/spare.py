"""The next process of a child, started ahead: it has imported everything and waits for its turn.

Nearly all of a worker's start is Python importing numpy, gRPC and MLX, and every stream waits for
it. Owns one waiting process at most. Runs on the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
from typing import TYPE_CHECKING

from daemon.supervision import child_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.supervision.child_process import ChildProcess

log = logging.getLogger(__name__)

DELAY_S = 0.25
"""After a child is READY: its first steps, and the streams that wait for them, come first."""


class Spare:
    """At most one process that waits to be the next child."""

    def __init__(
        self, command_for: Callable[[int, int], list[str]], environment: Mapping[str, str]
    ) -> None:
        """Prepare; nothing is started.

        Args:
            command_for: its arguments, given its ends of report pipe and lifeline.
            environment: all of its environment.
        """
        self._command_for = command_for
        self._environment = environment
        self._waiting: ChildProcess | None = None
        self._fds = (-1, -1)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """Of the process that waits; 0 if none does."""
        return self._waiting.pid if self._waiting and not self._waiting.ended else 0

    def prepare_soon(self) -> None:
        """Start one in a while, unless one waits already."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(DELAY_S, self._prepare)

    def take(self, spec_for: Callable[[int, int], str]) -> ChildProcess | None:
        """The process that waits, told to go on with a spec; None if there is none that can.

        Args:
            spec_for: the spec as JSON, given the process's ends of report pipe and lifeline.
        """
        if self._timer is not None:
            self._timer.cancel()
        process, self._waiting = self._waiting, None
        if process is None:
            return None
        try:
            process.tell(spec_for(*self._fds).encode() + b"\n")
        except OSError:  # it has died while it waited: a fresh one says why, if there is a reason
            log.warning("spare_gone", extra={"fields": {"pid": process.pid}})
            process.close()
            return None
        return process

    def close(self) -> None:
        """End what waits, and start no other."""
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def _prepare(self) -> None:
        if self.pid:
            return
        self.close()

        def command_for(report_fd: int, life_fd: int) -> list[str]:
            self._fds = (report_fd, life_fd)
            return self._command_for(report_fd, life_fd)

        try:
            self._waiting = child_process.spawn(
                command_for, self._environment, stdin=subprocess.PIPE
            )
        except OSError as error:  # nobody needs it now; the next death starts one as ever
            log.warning("spare_failed", extra={"fields": {"reason": str(error)}})
