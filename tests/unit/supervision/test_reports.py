"""The supervisor reads what children write, and trusts none of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.supervision.reports import (
    AliveReport,
    AnswerReport,
    EventReport,
    LogReport,
    SampleReport,
    StateReport,
    parse,
)
from daemon.supervision.worker_record import WorkerRecord
from protos import control_pb2


def test_a_state_brings_its_reason_and_measurements() -> None:
    """LOADING comes with its progress."""
    line = b'{"kind":"state","state":"LOADING","reason":"plan","progress":{"layers_total":4}}'
    report = parse(line)
    assert report == StateReport("LOADING", "plan", SampleReport(progress={"layers_total": 4}))


def test_a_sample_keeps_known_fields_only() -> None:
    """A newer worker may measure more than this supervisor knows."""
    line = b'{"kind":"sample","memory":{"kv_bytes":3,"soul":1},"layers":[2,4],"epoch":7}'
    report = parse(line)
    assert report == SampleReport(memory={"kv_bytes": 3}, layers=(2, 4), gauges={"epoch": 7})


def test_logs_and_events() -> None:
    """Odd levels, fields and times are made harmless."""
    log = parse(b'{"kind":"log","level":"LOUD","event":"e","fields":[1],"time":1e300}')
    assert log == LogReport("INFO", "e", {"fields": [1]}, None)
    assert parse(b'{"kind":"event","event":"epoch","text":"epoch 2","time":5}') == EventReport(
        "epoch", "epoch 2", 5.0
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[1]",
        b'"text"',
        b'{"kind":"dance"}',
        b'{"kind":"state","state":"FLYING"}',
        b'{"kind":"sample","memory":[1]}',
        b'{"kind":"sample","memory":{"kv_bytes":-1}}',
        b'{"kind":"sample","memory":{"kv_bytes":true}}',
        b'{"kind":"sample","counters":{"compute_s":NaN}}',
        b'{"kind":"sample","progress":{"layers_done":4294967296}}',
        b'{"kind":"sample","layers":[4,2]}',
        b'{"kind":"sample","epoch":"first"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_bad_line_is_a_value_error(line: bytes) -> None:
    """The caller logs it and goes on: a child can't hurt its supervisor."""
    with pytest.raises(ValueError, match=r"."):
        parse(line)


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.text(max_size=3)
)
FIELDS = st.sampled_from(
    ["kv_bytes", "tokens_out", "compute_s", "layers_done", "bytes_total", "unknown"]
)


@given(st.dictionaries(FIELDS, NUMBERS), NUMBERS, NUMBERS)
def test_what_parses_fits_the_protocol(
    numbers: dict[str, object], low: object, epoch: object
) -> None:
    """No parsed sample may break the status that people are shown."""
    plain = {
        "kind": "sample",
        "memory": numbers,
        "counters": numbers,
        "progress": numbers,
        "layers": [low, low],
        "epoch": epoch,
    }
    try:
        report = parse(json.dumps(plain).encode())
    except ValueError:
        return
    assert isinstance(report, SampleReport)
    record = WorkerRecord()
    record.take(report, 0.0)
    status = control_pb2.RankStatus()
    record.fill(status, 0.0)
    control_pb2.RankStatus.FromString(status.SerializeToString())


def test_a_record_shows_the_latest_of_every_section() -> None:
    """Samples may bring one section at a time."""
    record = WorkerRecord()
    record.take(SampleReport(memory={"kv_bytes": 1}, layers=(0, 4)), 0.0)
    record.take(SampleReport(counters={"tokens_out": 10, "compute_s": 1.5}), 1.0)
    record.take(SampleReport(counters={"tokens_out": 30}, gauges={"sequences": 2}), 2.0)
    status = control_pb2.RankStatus()
    record.fill(status, 2.0)
    assert (status.memory.kv_bytes, status.layer_hi) == (1, 4)
    assert (status.counters.tokens_out, status.counters.compute_s) == (30, 1.5)
    assert status.tokens_per_s == pytest.approx(20.0)
    assert status.sequences == 2


def test_without_a_process_there_is_no_memory_and_no_rate() -> None:
    """The layers it owned stay visible until the next one says otherwise."""
    record = WorkerRecord()
    record.take(SampleReport(memory={"kv_bytes": 1}, layers=(2, 4), gauges={"sequences": 2}), 0.0)
    record.process_ended()
    status = control_pb2.RankStatus()
    record.fill(status, 0.0)
    assert (status.memory.kv_bytes, status.sequences) == (0, 0)
    assert (status.layer_lo, status.layer_hi) == (2, 4)
    record.clear()
    assert record.layers == (0, 0)


def test_a_sign_of_life_says_nothing_else() -> None:
    """It keeps the supervisor from taking silence for being stuck."""
    assert parse(b'{"kind":"alive","boot_id":"x"}') == AliveReport()


LINK = {
    "peer": 1,
    "state": "up",
    "reason": "has not come up yet",
    "bytes_sent": 10,
    "bytes_received": 20,
    "rtt_p50_s": None,
    "rtt_p99_s": 0.002,
    "colour": "blue",
}
ROW = ["req_1/0", "decode", 1.5, 20, 3, 64, 0.2, 0.01, 4096, 8, "\x1b[31mme", 7]


def test_a_sample_brings_its_tables() -> None:
    """Links, requests and histograms arrive as the messages that readers get."""
    plain = {
        "kind": "sample",
        "links": [LINK],
        "requests": {"rows": [ROW], "total": 300},
        "histograms": {"stage_times": [1, 2], "soul_times": [3]},
        "build": "mlx 1",
        "last_step": 2**40,
        "last_step_age_s": 0.5,
    }
    report = parse(json.dumps(plain).encode())
    assert isinstance(report, SampleReport)
    record = WorkerRecord()
    record.take(report, 1.0)
    status = control_pb2.RankStatus()
    record.fill(status, 1.0)
    assert (status.last_step, status.last_step_age_s, status.build) == (2**40, 0.5, "mlx 1")
    assert list(status.stage_times.counts) == [1, 2]
    assert status.links[0].peer == 1
    assert status.links[0].rtt_p99_s == 0.002
    assert not status.links[0].HasField("rtt_p50_s")
    assert record.requests is not None
    assert record.requests.total == 300
    row = record.requests.rows[0]
    assert (row.id, row.kv_bytes, row.sequence) == ("req_1/0", 4096, 7)
    assert row.client == "?[31mme"
    record.process_ended()
    assert record.requests is None


@pytest.mark.parametrize(
    "section",
    [
        {"links": [{"peer": 1}]},
        {"links": {}},
        {"links": [LINK | {"bytes_sent": -1}]},
        {"links": [LINK] * 1025},
        {"requests": {"rows": [ROW[:-1]], "total": 1}},
        {"requests": {"rows": [[{}] * 12], "total": 1}},
        {"requests": {"rows": [ROW] * 257, "total": 257}},
        {"requests": []},
        {"histograms": [1]},
        {"histograms": {"stage_times": ["x"]}},
    ],
)
def test_malformed_tables_are_refused(section: dict[str, object]) -> None:
    """A worker gone mad must not take its supervisor along."""
    with pytest.raises(ValueError, match=r"\w"):
        parse(json.dumps({"kind": "sample", **section}).encode())


def test_an_answer_brings_its_number_and_rows() -> None:
    """It finds the question that the supervisor asked."""
    assert parse(b'{"kind":"answer","command":3,"rows":[[1]]}') == AnswerReport(3, [[1]])
    assert parse(b'{"kind":"answer","command":3,"rows":"no"}') == AnswerReport(3, [])
    with pytest.raises(ValueError, match="count"):
        parse(b'{"kind":"answer","command":"3"}')
