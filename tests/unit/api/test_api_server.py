"""The API process by itself: a real process, no ranks behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import httpx

from daemon.settings import ApiPart, ClusterPart, RankPart, Settings
from daemon.supervision.child_spec import EXIT_HOPELESS, ChildSpec
from tests.support.ports import free_ports
from tests.support.tiny_tokenizer import write_tiny_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

LIMIT_S = 30.0


@dataclass
class ApiProcess:
    """A started process and what it has reported."""

    process: subprocess.Popen[bytes]
    url: str
    lifeline: BinaryIO
    lines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def states(self) -> list[str]:
        """In the order of their coming."""
        return [line["state"] for line in self.lines if line["kind"] == "state"]

    def cut_lifeline(self) -> None:
        """As the supervisor's death does."""
        self.lifeline.close()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until ``condition`` holds."""
        deadline_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline_s, self.lines
            assert self.process.poll() is None or condition(), self.lines
            time.sleep(0.02)


@contextmanager
def api_process(folder: Path, port: int) -> Generator[ApiProcess]:
    """Run `python -m daemon.api_server` as the supervisor does."""
    [data_port, control_port] = free_ports(2)
    settings = Settings(
        cluster=ClusterPart(model=str(folder)),
        api=ApiPart(port=port),
        ranks=(RankPart("127.0.0.1", data_port, control_port),),
    )
    report_read, report_write = os.pipe()
    life_read, life_write = os.pipe()
    spec = ChildSpec(0, 1, "boot", settings, report_write, life_read)
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon.api_server", "--spec", spec.to_json()],
        pass_fds=(report_write, life_read),
        start_new_session=True,
    )
    os.close(report_write)
    os.close(life_read)
    running = ApiProcess(process, f"http://127.0.0.1:{port}", os.fdopen(life_write, "wb"))
    reader = threading.Thread(target=_read, args=(report_read, running.lines))
    reader.start()
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT_S)
        running.cut_lifeline()
        reader.join(LIMIT_S)


def _read(fd: int, lines: list[dict[str, Any]]) -> None:
    with os.fdopen(fd) as pipe:
        lines.extend(json.loads(line) for line in pipe)


def test_a_life_without_ranks(tmp_path: Path) -> None:
    """It listens, says what is missing, and leaves in order."""
    write_tiny_tokenizer(tmp_path)
    [port] = free_ports(1)
    with api_process(tmp_path, port) as api:
        api.wait_for(lambda: "READY" in api.states())
        assert api.states()[0] == "LOADING"
        [model] = httpx.get(f"{api.url}/v1/models").json()["data"]
        assert (model["id"], model["max_model_len"]) == (tmp_path.name, 512)
        health = httpx.get(f"{api.url}/health", timeout=20)
        assert health.status_code == 503
        assert "rank 0" in health.json()["reason"]
        body = {"model": tmp_path.name, "messages": [{"role": "user", "content": "hi"}]}
        chat = httpx.post(f"{api.url}/v1/chat/completions", json=body, timeout=20)
        assert chat.status_code == 503
        assert "retry-after" in chat.headers
        assert chat.json()["error"]["code"] == "engine_not_ready"
        api.process.send_signal(signal.SIGTERM)
        assert api.process.wait(LIMIT_S) == 0
    requests = [line for line in api.lines if line.get("event") == "request"]
    assert chat.headers["x-request-id"] in {r["fields"]["request_id"] for r in requests}


def test_it_dies_with_its_supervisor(tmp_path: Path) -> None:
    """The lifeline is cut: no orphan keeps the port."""
    write_tiny_tokenizer(tmp_path)
    [port] = free_ports(1)
    with api_process(tmp_path, port) as api:
        api.wait_for(lambda: "LOADING" in api.states())
        api.cut_lifeline()
        assert api.process.wait(LIMIT_S) != 0


def test_a_port_in_use_is_hopeless(tmp_path: Path) -> None:
    """Reported with the port; a restart would not help."""
    write_tiny_tokenizer(tmp_path)
    [port] = free_ports(1)
    with api_process(tmp_path, port) as first:
        first.wait_for(lambda: "LOADING" in first.states())
        with api_process(tmp_path, port) as second:
            assert second.process.wait(LIMIT_S) == EXIT_HOPELESS
        [failed] = [line for line in second.lines if line["kind"] == "state"]
        assert failed["state"] == "FAILED"
        assert f"127.0.0.1:{port} is taken" in failed["reason"]


def test_a_model_without_tokenizer_is_reported(tmp_path: Path) -> None:
    """The process stays and says why to everyone who asks."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    [port] = free_ports(1)
    with api_process(tmp_path, port) as api:
        api.wait_for(lambda: "FAILED" in api.states())
        body = {"model": tmp_path.name, "prompt": "hi"}
        answer = httpx.post(f"{api.url}/v1/completions", json=body, timeout=20)
        assert answer.status_code == 503
        assert "no tokenizer" in answer.json()["error"]["message"]
