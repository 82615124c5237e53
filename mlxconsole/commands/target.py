"""Which cluster a command is about: the one in a state folder, or one behind a control port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.client.control import ControlClient
from daemon.errors import ClusterError, SettingsError, StartFailed
from daemon.settings_check import is_loopback
from mlxconsole.cluster import Cluster
from mlxconsole.local.state_dir import StateDir, default_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from mlxconsole.cluster import Member
    from protos.control_pb2 import RankStatus

ANSWER_TIMEOUT_S = 2.0


def state_dir(arguments: argparse.Namespace) -> StateDir:
    """The state folder that the flags name, or the usual one."""
    return StateDir(arguments.state_dir or default_path())


async def find_cluster(arguments: argparse.Namespace) -> Cluster:
    """The cluster that the flags name.

    Raises:
        StartFailed: there is none; says how to start one.
        NotReady: nobody answers on the control port of --connect.
    """
    if arguments.connect:
        host, port = control_address(arguments.connect)
        async with ControlClient(host, port) as client:
            return Cluster.from_info(await client.get_cluster(timeout_s=ANSWER_TIMEOUT_S))
    state = state_dir(arguments)
    settings = state.settings()
    if settings is None:
        raise StartFailed(f"no cluster runs in {state}: start one with `mlxconsole up{state.flag}`")
    return Cluster.from_settings(settings)


def start_command(arguments: argparse.Namespace, cluster: Cluster) -> str:
    """What starts the daemon of a rank of this cluster again; ``{rank}`` stands for the rank."""
    here = all(is_loopback(member.host) for member in cluster.members)
    if here and not arguments.connect:
        return state_dir(arguments).start_command
    return "mlx-daemon --rank {rank} --config cluster.toml"


def control_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:CONTROL_PORT; IPv6 in brackets.

    Raises:
        SettingsError: it is something else.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"--connect {text}: write HOST:CONTROL_PORT, as in 127.0.0.1:50200")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def ask_all(members: Iterable[Member]) -> dict[int, RankStatus]:
    """The status of every rank that answers within `ANSWER_TIMEOUT_S`."""

    async def ask(member: Member) -> RankStatus | None:
        try:
            async with ControlClient(member.host, member.control_port) as client:
                return await client.get_status(timeout_s=ANSWER_TIMEOUT_S)
        except ClusterError:
            return None

    asked = list(members)
    answers = await asyncio.gather(*(ask(member) for member in asked))
    pairs = zip(asked, answers, strict=True)
    return {member.rank: answer for member, answer in pairs if answer is not None}
