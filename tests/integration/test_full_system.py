"""The whole system through the scripts of the repository, on the real demo model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from daemon import ports
from mlxconsole.log_selection import LogQuery, LogSelection
from mlxconsole.recording import reading
from mlxconsole.source.base import FrameArrived
from mlxconsole.store import Store
from tests.support.ports import free_block
from tests.support.running_cluster import mlxconsole, start_cluster
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_cluster import RunningCluster

ROOT = Path(__file__).parents[2]
PREPARE_TIMEOUT_S = 900  # the environment may have to be made first

pytestmark = [pytest.mark.integration, pytest.mark.timeout(PREPARE_TIMEOUT_S)]


def launch(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the launch scripts without a terminal."""
    return subprocess.run(
        [str(ROOT / "launch" / script), *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PREPARE_TIMEOUT_S,
        check=False,
    )


def test_launch_cluster_script(tmp_path: Path) -> None:
    """launch/up: two ranks that answer; launch/down: nothing left."""
    first = free_block(5)
    state = ("--state-dir", str(tmp_path / "state"))
    try:
        up = launch(
            "up",
            "--detach",
            *("--port", str(first)),
            *("--grpc-port", str(first + 1)),
            *("--control-port", str(first + 3)),
            *state,
        )
        assert up.returncode == 0, up.stderr
        assert "rank 1: READY" in up.stderr
        curl = next(line for line in up.stdout.splitlines() if line.startswith("Try it: curl "))
        assert f"http://127.0.0.1:{first}/v1/chat/completions" in curl

        answer = chat(first, "What is the capital of France?")
        assert "Paris" in answer

        document = json.loads(mlxconsole("--once", "--json", *state).stdout)
        assert document["api"]["state"] == "READY"
        owned = [rank["layers"] for rank in document["ranks"]]
        assert owned[0][0] == 0
        assert owned[0][1] == owned[1][0]
        assert all(rank["memory"]["weights_bytes"] > 0 for rank in document["ranks"])
        pids = [document["api"]["pid"], *(rank["pid"] for rank in document["ranks"])]
        pids += [rank["supervisor_pid"] for rank in document["ranks"]]
    finally:
        down = launch("down", *state)
    assert down.returncode == 0, down.stderr
    assert down.stdout == "2 ranks ended\n"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    for port in range(first, first + 5):
        ports.check_free("127.0.0.1", port, "a port of the cluster that was ended")


def chat(port: int, question: str) -> str:
    """One greedy answer."""
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json={
            "model": "demo",
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 60,
        },
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def test_api_health_endpoints(cluster: RunningCluster) -> None:
    """/health steps through all ranks; /status says what is served; /metrics counts it."""
    base = f"http://127.0.0.1:{cluster.api_port}"
    health = httpx.get(f"{base}/health", timeout=20)
    assert health.status_code == 200
    assert health.json()["status"] == "ok"
    assert health.json()["probe_seconds"] > 0
    status = httpx.get(f"{base}/status").json()
    assert (status["status"], status["model"]) == ("ready", cluster.model)
    assert status["world_size"] == cluster.ranks
    counted = "mlxconsole_completion_tokens_total"
    before = _metric(base, counted)
    body = {"model": cluster.model, "prompt": "a", "max_tokens": 5, "ignore_eos": True}
    assert httpx.post(f"{base}/v1/completions", json=body, timeout=30).status_code == 200
    assert _metric(base, counted) == before + 5


@pytest.fixture
def young_cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    """Its supervisors still keep all lines: in the shared one, other tests crowd them out."""
    started = start_cluster(tmp_path / "state")
    yield started
    assert started.down().returncode == 0


def test_log_aggregation(young_cluster: RunningCluster, tmp_path: Path) -> None:
    """Every line of every device arrives once: its supervisor's, its worker's, the API's.

    Lines from before come first, that of a request made meanwhile follows, merged by their time.
    """
    cluster = young_cluster
    path = tmp_path / "logs.mlxrec"
    state = ("--state-dir", str(cluster.state_dir))
    command = [sys.executable, "-m", "mlxconsole.cli", "record", str(path), *state]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as recorder:
        wait_for(lambda: path.exists() and path.stat().st_size > 0)
        body = {"model": cluster.model, "prompt": "a", "max_tokens": 2}
        answer = httpx.post(f"{cluster.base_url}/completions", json=body, timeout=30)
        assert answer.status_code == 200
        request_id = answer.headers["x-request-id"]
        wait_for(lambda: any(request_id in line.text for line in aggregated(path)))
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(30) == 0

    log = aggregated(path)
    assert [line.time_s for line in log] == sorted(line.time_s for line in log)
    sources = {(line.rank, line.source) for line in log}
    assert sources >= {(rank, "supervisor") for rank in range(cluster.ranks)}
    assert sources >= {(rank, "worker") for rank in range(cluster.ranks)}
    [asked] = [line for line in log if request_id in line.text]
    assert (asked.rank, asked.source, asked.level) == (0, "api", "INFO")


def aggregated(path: Path) -> LogSelection:
    """The merged log of a recording, in which no line of any rank is missing or doubled."""
    with reading.opened(path) as recording:
        store = Store(recording.header.cluster)
        sequences = defaultdict[int, list[int]](list)
        for update in recording.updates:
            store.apply(update)
            assert isinstance(update, FrameArrived)
            sequences[update.rank] += [line.sequence for line in update.frame.logs]
    for seen in sequences.values():
        assert seen == list(range(seen[0], seen[0] + len(seen)))
    log = LogSelection(store.log)
    log.choose(LogQuery())
    assert len(log) == sum(map(len, sequences.values()))
    return log


def _metric(base: str, name: str) -> float:
    lines = httpx.get(f"{base}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
