"""The table of `mlxconsole status`: plain text for a terminal of any kind.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxconsole.snapshot import api_status, state_name
from mlxconsole.units import UNKNOWN, duration, rate, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlxconsole.cluster import Cluster, Member
    from protos.control_pb2 import RankStatus

AFTER_A_DEATH = frozenset({"DOWN", "FAILED", "STARTING", "LOADING"})
"""States in which the end of the last worker is news. JOINING may come of another rank's end."""
TITLES = ("RANK", "STATE", "LAYERS", "ADDRESS", "PID", "MEMORY", "TOK/S", "RESTARTS", "UP")


def table(
    cluster: Cluster, statuses: Mapping[int, RankStatus], start_command: str = ""
) -> list[str]:
    """Lines: a heading, one row per rank, causes of what is not working.

    ``start_command`` starts a rank's daemon again; ``{rank}`` in it is the rank's number.
    """
    rows = [TITLES, *(_row(member, statuses.get(member.rank)) for member in cluster.members)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    api = api_status(statuses)
    return [
        f"cluster {cluster.name}, model {cluster.model}, API {state_name(api)} {cluster.api_url}",
        *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows),
        *_causes(cluster, statuses, start_command),
    ]


def _row(member: Member, status: RankStatus | None) -> tuple[str, ...]:
    address = f"{member.host}:{member.port}"
    if status is None:
        return (str(member.rank), "DOWN", UNKNOWN, address, *[UNKNOWN] * 5)
    layers = f"{status.layer_lo}-{status.layer_hi - 1}" if status.layer_hi else UNKNOWN
    state = state_name(status)
    if state == "LOADING" and status.progress.layers_total:
        state += f" {status.progress.layers_done}/{status.progress.layers_total}"
    alive = bool(status.worker_pid)
    return (
        str(member.rank),
        state,
        layers,
        address,
        str(status.worker_pid) if alive else UNKNOWN,
        size(status.memory.mlx_active_bytes) if alive else UNKNOWN,
        rate(status.tokens_per_s) if alive else UNKNOWN,
        str(status.restarts),
        duration(status.uptime_s) if alive else UNKNOWN,
    )


def no_answer(member: Member, start_command: str) -> str:
    """Why a rank may be silent, and what starts it again."""
    again = start_command.replace("{rank}", str(member.rank))
    return (
        f"rank {member.rank}: no answer on {member.host}:{member.control_port}: "
        "its supervisor is not running, or not reachable from here"
        + (f": on its machine `{again}` starts it again" if again else "")
    )


def _causes(cluster: Cluster, statuses: Mapping[int, RankStatus], start_command: str) -> list[str]:
    lines: list[str] = []
    for member in cluster.members:
        status = statuses.get(member.rank)
        if status is None:
            lines.append(no_answer(member, start_command))
        elif state_name(status) == "JOINING":
            lines += [f"rank {member.rank}: {status.reason}"] if status.reason else []
        elif status.exit_cause and state_name(status) in AFTER_A_DEATH:
            lines.append(f"rank {member.rank}: {status.exit_cause}")
    api = api_status(statuses)
    if api and api.exit_cause and state_name(api) in AFTER_A_DEATH:
        lines.append(f"api: {api.exit_cause}")
    return lines
