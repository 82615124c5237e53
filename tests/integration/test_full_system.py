"""The whole system through the scripts of the repository, on the real demo model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from daemon import ports
from tests.support.ports import free_block
from tests.support.running_cluster import mlxconsole

if TYPE_CHECKING:
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


def _metric(base: str, name: str) -> float:
    lines = httpx.get(f"{base}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])
