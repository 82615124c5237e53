"""Where the ranks of a cluster are: the addresses that every command starts from.

Plain data, made from settings or from a rank's answer; opens no connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.settings import Settings
    from protos.control_pb2 import ClusterInfo


@dataclass(frozen=True)
class Member:
    """One rank's addresses."""

    rank: int
    host: str
    port: int
    control_port: int


@dataclass(frozen=True)
class Cluster:
    """What can be known about a cluster without asking its ranks how they are."""

    name: str
    model: str
    api_url: str
    members: tuple[Member, ...]

    @staticmethod
    def from_settings(settings: Settings) -> Cluster:
        """As cluster.toml describes it."""
        return Cluster(
            settings.cluster.name,
            settings.cluster.model,
            settings.api_url,
            tuple(
                Member(rank, part.host, part.port, part.control_port)
                for rank, part in enumerate(settings.ranks)
            ),
        )

    @staticmethod
    def from_info(info: ClusterInfo) -> Cluster:
        """As one of its ranks describes it."""
        return Cluster(
            info.name,
            info.model,
            info.api_url,
            tuple(Member(m.rank, m.host, m.port, m.control_port) for m in info.members),
        )
