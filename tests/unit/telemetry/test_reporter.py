"""The child's end of the report pipe: what it writes, and that it never hurts the child."""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from daemon.telemetry import reporter as reporting
from daemon.telemetry.reporter import Reporter, install_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipe:
    """A reporter and the read end of its pipe."""

    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe()
        self.reporter = Reporter(write_fd, "boot-1")

    def lines(self) -> list[dict[str, Any]]:
        """Everything reported; closes the reporter."""
        self.reporter.close()
        with os.fdopen(self.read_fd, "rb") as reader:
            return [json.loads(line) for line in reader]


@pytest.fixture
def pipe() -> Pipe:
    """A reporter whose lines can be read."""
    return Pipe()


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_lines_arrive_in_the_order_of_the_calls(pipe: Pipe) -> None:
    """The supervisor takes the last state as the present one."""
    pipe.reporter.state("LOADING", "plan arrived", progress={"layers_total": 4})
    pipe.reporter.sample(memory={"kv_bytes": 5}, layers=(0, 4))
    pipe.reporter.event("epoch", "epoch 2")
    pipe.reporter.log("INFO", "loaded", seconds=1.5)
    state, sample, event, log = pipe.lines()
    assert (state["kind"], state["state"], state["boot_id"]) == ("state", "LOADING", "boot-1")
    assert state["progress"] == {"layers_total": 4}
    assert sample["memory"] == {"kv_bytes": 5}
    assert sample["layers"] == [0, 4]
    assert sample["counters"].pop("telemetry_s") >= 0
    assert sample["counters"] == {"log_lines_dropped": 0}
    assert (event["kind"], event["event"], event["text"]) == ("event", "epoch", "epoch 2")
    assert (log["level"], log["event"], log["fields"]) == ("INFO", "loaded", {"seconds": 1.5})


def test_an_overflow_drops_the_oldest_logs_and_no_state() -> None:
    """A log storm while the supervisor is stopped must not hide that the rank became READY."""
    read_fd, write_fd = os.pipe()
    reporter = Reporter(write_fd, "boot-1")
    reporter.state("READY")
    for number in range(reporting.QUEUE_LINES + 500):
        reporter.log("INFO", "x" * 1_000, number=number)
    assert reporter.dropped > 0
    received = bytearray()

    def drain() -> None:
        while data := os.read(read_fd, 65536):
            received.extend(data)

    reader = threading.Thread(target=drain)
    reader.start()
    reporter.close(timeout_s=10)
    reader.join(10)
    os.close(read_fd)
    lines = [json.loads(line) for line in received.splitlines()]
    assert [line["state"] for line in lines if line["kind"] == "state"] == ["READY"]
    numbers = [line["fields"]["number"] for line in lines if line["kind"] == "log"]
    assert len(numbers) == reporting.QUEUE_LINES + 500 - reporter.dropped
    assert numbers[-1] == reporting.QUEUE_LINES + 499


def test_without_log_lines_an_overflow_drops_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds for every kind of line."""
    monkeypatch.setattr(reporting, "QUEUE_LINES", 2)
    read_fd, write_fd = os.pipe()
    reporter = Reporter(write_fd, "boot-1")
    for number in range(500):
        reporter.event("filler", "y" * 1_000 + str(number))
    assert reporter.dropped > 0
    os.close(read_fd)
    reporter.close()


def test_a_supervisor_that_is_gone_hurts_nobody(pipe: Pipe) -> None:
    """The child is about to be ended by its lifeline; until then it must not raise."""
    os.close(pipe.read_fd)
    for _ in range(10):
        pipe.reporter.log("INFO", "into the void")
    pipe.reporter.close()
    pipe.reporter.state("DRAINING")


def test_what_json_cannot_say_is_reported_as_text_or_as_an_error(pipe: Pipe) -> None:
    """One odd field must not end the writing thread."""
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    pipe.reporter.log("INFO", "object", value=ValueError("odd"))
    pipe.reporter.log("INFO", "loop", value=loop)
    first, second = pipe.lines()
    assert first["fields"] == {"value": "odd"}
    assert second["level"] == "ERROR"
    assert second["event"].startswith("bad report")


def test_log_records_carry_fields_and_tracebacks(pipe: Pipe, root_logger: logging.Logger) -> None:
    """Modules log through stdlib logging and know no reporter."""
    install_logging(pipe.reporter, "INFO")
    log = logging.getLogger("daemon.test")
    log.debug("not_wanted")
    log.info("step_done", extra={"fields": {"step": 7}})
    try:
        raise ValueError("the cause")
    except ValueError:
        log.exception("step_failed")
    done, failed = pipe.lines()
    assert done["event"] == "step_done"
    assert done["fields"] == {"step": 7, "logger": "daemon.test"}
    assert "ValueError: the cause" in failed["fields"]["exception"]
    assert len(root_logger.handlers) == 1


def test_warnings_become_log_lines(pipe: Pipe, root_logger: logging.Logger) -> None:
    """A deprecation in a library should reach the console."""
    install_logging(pipe.reporter)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)  # catch_warnings undoes it on its way out
        warnings.warn("old way", stacklevel=1)
    (line,) = pipe.lines()
    assert line["level"] == "WARNING"
    assert "old way" in line["event"]


def test_a_wrong_format_string_does_not_raise(
    pipe: Pipe, root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    """A typo in a log call must not end the work around it."""
    install_logging(pipe.reporter)
    logging.getLogger("daemon.test").info("%d items", "no number")
    assert pipe.lines() == []
    assert "no number" in capfd.readouterr().err


def test_a_process_with_nothing_to_say_shows_that_it_lives(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor takes silence for being stuck."""
    monkeypatch.setattr(reporting, "ALIVE_S", 0.001)
    pipe.reporter.log("INFO", "wakes the writer")
    with os.fdopen(os.dup(pipe.read_fd), "rb") as reader:
        kinds = [json.loads(reader.readline())["kind"] for _ in range(3)]
    assert kinds == ["log", "alive", "alive"]
    pipe.lines()
