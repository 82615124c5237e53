"""What scripts read: the `--once` document, sentences, the status table."""

from __future__ import annotations

import json

from mlxconsole import snapshot
from mlxconsole.cluster import Cluster
from mlxconsole.source import seeded
from mlxconsole.status_table import table
from protos.control_pb2 import ClusterInfo, Member, RankState, RankStatus

RANK_KEYS = {
    "rank", "state", "host", "port", "control_port", "pid", "supervisor_pid", "layers",
    "generation", "restarts", "uptime_s", "memory", "tokens_per_s",
}  # fmt: skip
MEMORY_KEYS = {
    "mlx_active_bytes", "mlx_cache_bytes", "mlx_peak_bytes", "weights_bytes", "kv_bytes",
    "rss_bytes", "limit_bytes",
}  # fmt: skip


def both() -> dict[int, RankStatus]:
    """Two ready ranks."""
    return {rank: seeded.status(rank, 2) for rank in range(2)}


def test_the_document_has_exactly_the_promised_keys() -> None:
    """Scripts rely on schema 1: adding a key is fine only together with this test."""
    document = json.loads(json.dumps(snapshot.document(seeded.cluster(2), both())))
    assert set(document) == {"schema", "model", "api", "ranks"}
    assert document["schema"] == 1
    assert document["model"] == seeded.MODEL
    assert document["api"] == {"url": "http://127.0.0.1:8100", "pid": 4321, "state": "READY"}
    first, second = document["ranks"]
    assert set(first) == RANK_KEYS
    assert set(first["memory"]) == MEMORY_KEYS
    assert first["layers"] == [0, 14]
    assert second["layers"] == [14, 28]
    assert (second["pid"], second["supervisor_pid"]) == (4110, 4010)
    assert all(isinstance(value, int) for value in first["memory"].values())


def test_a_silent_rank_is_down_and_its_values_unknown() -> None:
    """Unknown is null, so that nobody averages a zero; the keys stay."""
    document = snapshot.document(seeded.cluster(2), {1: seeded.status(1, 2)})
    silent = document["ranks"][0]
    assert set(silent) == RANK_KEYS
    assert (silent["state"], silent["pid"], silent["layers"]) == ("DOWN", None, None)
    assert silent["memory"] == dict.fromkeys(MEMORY_KEYS)
    assert silent["control_port"] == 50200
    assert document["api"] == {"url": "http://127.0.0.1:8100", "pid": None, "state": "DOWN"}


def test_a_dead_worker_has_no_pid_and_no_uptime() -> None:
    """The supervisor answers for it."""
    statuses = both() | {1: seeded.down(1, 2, "killed by signal 9")}
    rank = snapshot.document(seeded.cluster(2), statuses)["ranks"][1]
    assert (rank["state"], rank["pid"], rank["uptime_s"]) == ("DOWN", None, None)
    assert rank["supervisor_pid"] == 4010


def test_every_state_has_its_name() -> None:
    """The words are part of the schema."""
    names = {snapshot.state_name(RankStatus(state=state)) for state in RankState.values()}
    assert names == {"STARTING", "JOINING", "LOADING", "READY", "DRAINING", "DOWN", "FAILED"}


def test_ready_means_every_rank_and_the_api() -> None:
    """`status` and `up` wait for the whole chain."""
    cluster = seeded.cluster(2)
    assert snapshot.all_ready(cluster, both())
    assert not snapshot.all_ready(cluster, {0: seeded.status(0, 2)})
    assert not snapshot.all_ready(cluster, both() | {1: seeded.loading(1, 2, 3)})
    starting = both()
    starting[0].api.state = RankState.STARTING
    assert not snapshot.all_ready(cluster, starting)


def test_sentences_say_state_progress_and_cause() -> None:
    """For ears: no columns, no symbols."""
    statuses = {0: seeded.status(0, 4), 1: seeded.loading(1, 4, 3), 2: seeded.down(2, 4, "exit 1")}
    statuses[0].api.state, statuses[0].api.exit_cause = RankState.DOWN, "exit code 1"
    said = snapshot.sentences(seeded.cluster(4), statuses)
    assert said[0] == f"Cluster lab serves the model {seeded.MODEL} on 4 ranks."
    assert said[1].startswith("Rank 0 at 127.0.0.1:50100 is READY, layers 0 to 6, 716 MiB in use")
    assert "is LOADING, 3 of 7 layers read" in said[2]
    assert said[3].endswith("exit 1.")
    assert said[4] == (
        "Rank 3 at 127.0.0.1:50103 is DOWN: its supervisor does not answer on port 50203."
    )
    assert said[5] == "The API at http://127.0.0.1:8100 is DOWN, exit code 1."


def test_the_table_lines_up_and_ends_with_the_causes() -> None:
    """One row per rank under its titles; why something is missing below."""
    statuses = {0: seeded.status(0, 4), 1: seeded.loading(1, 4, 3), 2: seeded.down(2, 4, "exit 1")}
    statuses[0].api.state, statuses[0].api.exit_cause = RankState.DOWN, "exit code 1"
    lines = table(seeded.cluster(4), statuses)
    assert lines[1].split() == [
        "RANK", "STATE", "LAYERS", "ADDRESS", "PID", "MEMORY", "TOK/S", "RESTARTS", "UP",
    ]  # fmt: skip
    assert {line.index("127.0.0.1") for line in lines[2:6]} == {lines[1].index("ADDRESS")}
    assert "LOADING 3/7" in lines[3]
    assert lines[6:] == [
        "rank 2: exit 1",
        "rank 3: no answer on 127.0.0.1:50203: its supervisor is not running, or not reachable "
        "from here",
        "api: exit code 1",
    ]


def test_a_rank_that_joins_says_whom_it_waits_for() -> None:
    """Not how its last worker died minutes ago: now another rank is missing."""
    status = seeded.status(0, 2)
    status.exit_cause, status.reason = "killed by signal 9 (SIGKILL)", "waiting for rank 1: lost"
    status.state = RankState.JOINING
    assert table(seeded.cluster(1), {0: status})[3:] == ["rank 0: waiting for rank 1: lost"]
    status.reason = ""
    assert table(seeded.cluster(1), {0: status})[3:] == []
    status.state = RankState.STARTING
    causes = table(seeded.cluster(1), {0: status})[3:]
    assert causes == ["rank 0: killed by signal 9 (SIGKILL)"]


def test_a_rank_describes_its_cluster() -> None:
    """`--connect` to one rank finds the others."""
    info = ClusterInfo(
        name="lab", model="m", api_url="u", members=[Member(rank=0, host="h", port=1)]
    )
    cluster = Cluster.from_info(info)
    assert (cluster.name, cluster.members[0].host, cluster.members[0].port) == ("lab", "h", 1)
