"""One picture of a cluster for scripts and plain terminals: the `--once` document, sentences.

Pure functions from the ranks' last answers to text. Knows no network and no screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.control_pb2 import ApiStatus, Memory, RankState, RankStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlxconsole.cluster import Cluster, Member

SCHEMA = 1
"""Version of `document`: grows when a key goes or changes its meaning, not when one is added."""

MEMORY_KEYS = (
    "mlx_active_bytes",
    "mlx_cache_bytes",
    "mlx_peak_bytes",
    "weights_bytes",
    "kv_bytes",
    "rss_bytes",
    "limit_bytes",
)


def document(cluster: Cluster, statuses: Mapping[int, RankStatus]) -> dict[str, Any]:
    """What `mlxconsole --once --json` prints; ``null`` means unknown, never zero.

    Args:
        cluster: names the ranks that should be there.
        statuses: the ranks that answered; the others are DOWN.
    """
    return {
        "schema": SCHEMA,
        "model": cluster.model,
        "api": _api(cluster, statuses.get(0)),
        "ranks": [_rank(member, statuses.get(member.rank)) for member in cluster.members],
    }


def state_name(status: RankStatus | ApiStatus | None) -> str:
    """The state as one word; nobody there is DOWN."""
    if status is None:
        return "DOWN"
    if status.state == RankState.RANK_STATE_UNSPECIFIED:
        return "STARTING"
    return RankState.Name(status.state)


def api_status(statuses: Mapping[int, RankStatus]) -> ApiStatus | None:
    """The API process's status, which rank 0 reports; None if it can't be known."""
    first = statuses.get(0)
    return first.api if first is not None and first.HasField("api") else None


def all_ready(cluster: Cluster, statuses: Mapping[int, RankStatus]) -> bool:
    """Whether every rank and the API are READY: requests will be served."""
    ranks = (state_name(statuses.get(member.rank)) for member in cluster.members)
    return all(name == "READY" for name in (*ranks, state_name(api_status(statuses))))


def sentences(
    cluster: Cluster, statuses: Mapping[int, RankStatus], *, rates: bool = True
) -> list[str]:
    """What `mlxconsole --once --plain` prints: a sentence per rank, for screen readers too.

    Without ``rates`` they change with a rank's state only.
    """
    api = api_status(statuses)
    cause = f", {api.exit_cause}" if api and api.exit_cause and state_name(api) != "READY" else ""
    return [
        f"Cluster {cluster.name} serves the model {cluster.model} on {len(cluster.members)} "
        f"rank{'s' if len(cluster.members) != 1 else ''}.",
        *(_sentence(member, statuses.get(member.rank), rates=rates) for member in cluster.members),
        f"The API at {cluster.api_url} is {state_name(api)}{cause}.",
    ]


def _api(cluster: Cluster, first: RankStatus | None) -> dict[str, Any]:
    api = first.api if first is not None and first.HasField("api") else None
    return {
        "url": (api.url if api else "") or cluster.api_url,
        "pid": (api.pid or None) if api else None,
        "state": state_name(api),
    }


def _rank(member: Member, status: RankStatus | None) -> dict[str, Any]:
    known = status is not None
    now = status or RankStatus()
    memory: Memory = now.memory
    measured = now.HasField("memory")
    return {
        "rank": member.rank,
        "state": state_name(status),
        "host": member.host,
        "port": member.port,
        "control_port": member.control_port,
        "pid": now.worker_pid or None,
        "supervisor_pid": now.supervisor_pid or None,
        "layers": [now.layer_lo, now.layer_hi] if now.layer_hi > now.layer_lo else None,
        "generation": now.generation if known else None,
        "restarts": now.restarts if known else None,
        "uptime_s": round(now.uptime_s, 3) if known and now.worker_pid else None,
        "memory": {key: getattr(memory, key) if measured else None for key in MEMORY_KEYS},
        "tokens_per_s": round(now.tokens_per_s, 3) if known else None,
    }


def _sentence(member: Member, status: RankStatus | None, *, rates: bool) -> str:
    where = f"Rank {member.rank} at {member.host}:{member.port}"
    if status is None:
        return f"{where} is DOWN: its supervisor does not answer on port {member.control_port}."
    parts = [f"{where} is {state_name(status)}"]
    if status.state == RankState.LOADING and status.progress.layers_total:
        parts.append(f"{status.progress.layers_done} of {status.progress.layers_total} layers read")
    if status.layer_hi > status.layer_lo:
        parts.append(f"layers {status.layer_lo} to {status.layer_hi - 1}")
    if rates and status.memory.mlx_active_bytes:
        parts.append(f"{status.memory.mlx_active_bytes / 2**20:.0f} MiB in use")
    if rates and status.state == RankState.READY:
        parts.append(f"{status.tokens_per_s:.1f} tokens per second")
    if status.state in {RankState.DOWN, RankState.FAILED} and status.exit_cause:
        parts.append(status.exit_cause)
    return ", ".join(parts) + "."
