"""Actions on a cluster, refused where only watching is allowed, and recorded where they are not.

The last gate before the client: whatever the screen offers, a read-only source calls nobody.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from typing import TYPE_CHECKING

from daemon.errors import ClusterError, SettingsError
from daemon.settings_check import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from mlxconsole.cluster import Cluster
    from mlxconsole.source.base import Action, Sink, Source
    from protos.control_pb2 import TraceStep


def on_loopback(cluster: Cluster) -> bool:
    """Whether every rank is on this machine."""
    return all(is_loopback(member.host) for member in cluster.members)


class GuardedSource:
    """A `Source` whose actions are checked first and leave a line in the audit file."""

    def __init__(self, source: Source, *, read_only: bool, audit: Path) -> None:
        self._source = source
        self._audit = audit
        self.read_only = read_only
        """See `Source.read_only`."""

    @property
    def cluster(self) -> Cluster:
        """See `Source.cluster`."""
        return self._source.cluster

    async def follow(self, sink: Sink) -> None:
        """See `Source.follow`."""
        await self._source.follow(sink)

    async def act(self, action: Action) -> str:
        """See `Source.act`.

        Raises:
            SettingsError: this console may only watch, or the action can't be recorded.
        """
        if self.read_only:
            raise SettingsError("this console is read-only: start it with --allow-actions")
        self._record(action, "asked")
        try:
            answer = await self._source.act(action)
        except ClusterError as error:
            self._record(action, f"refused: {error}")
            raise
        self._record(action, f"done: {answer}")
        return answer

    async def trace(self, rank: int, sequence: int) -> list[TraceStep]:
        """See `Source.trace`; it changes nothing."""
        return await self._source.trace(rank, sequence)

    def _record(self, action: Action, outcome: str) -> None:
        line = {
            "time_s": round(time.time(), 3),
            "user": getpass.getuser(),
            "cluster": self.cluster.name,
            "action": action.name,
            "rank": action.rank,
            "generation": action.generation,
            **({"request_id": action.request_id} if action.request_id else {}),
            "outcome": outcome,
        }
        try:
            self._audit.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            with os.fdopen(os.open(self._audit, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise SettingsError(f"can't record the action in {self._audit}: {error}") from error
