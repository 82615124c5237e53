"""`mlxconsole bench`: figures, tables, comparisons and plots, and what its flags ask for."""

from __future__ import annotations

import platform
import socket
from pathlib import Path

import pytest

from daemon.errors import SettingsError, StartFailed
from mlxconsole import cli
from mlxconsole.bench import communication, console, cpu, http, plots, suites
from mlxconsole.bench.bench_table import markdown
from mlxconsole.bench.figures import Figure, Report, against
from mlxconsole.bench.machine import describe
from mlxconsole.bench.streams import Measured, Timed, summary
from mlxconsole.chaos.requests import Answer
from mlxconsole.commands.bench import chosen
from mlxconsole.console_bench import CASES
from mlxconsole.console_bench import Figures as ConsoleFigures

RATE = Figure("http", "throughput", 50.0, "tok/s", "more", 40.0, "peer", "ours", 4, "streams")
PLAIN = Figure("recovery", "pause p50", 0.5, "s", "less")


def report(*figures: Figure) -> Report:
    """Of a run somewhere."""
    return Report("mlxconsole bench", {"processor": "a chip", "cores": "8"}, list(figures))


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Or nothing could be compared later."""
    path = tmp_path / "results.json"
    path.write_text(report(RATE, PLAIN).to_json())
    assert Report.from_file(path) == report(RATE, PLAIN)
    assert RATE.ratio == pytest.approx(1.25)
    assert PLAIN.ratio is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1}'])
def test_files_of_others_are_refused(text: str, tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"other\.json"):
        Report.from_file(path)


def test_the_table_has_references_and_ratios() -> None:
    """And with an earlier run, how it compares with that."""
    then = report(Figure("http", "throughput", 25.0, "tok/s", "more"))
    now = report(RATE, PLAIN)
    assert against(now, then) == {("http", "throughput"): 2.0}
    text = markdown(now, then)
    row = next(line for line in text.splitlines() if "throughput" in line)
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "throughput",
        "50",
        "tok/s",
        "more",
        "peer",
        "40",
        "1.25",
        "2",
    ]
    assert text.index("## http") < text.index("## recovery")


def test_plots_are_drawn_from_series(tmp_path: Path) -> None:
    """One picture per suite that has any; the same figures give the same file."""
    pytest.importorskip("matplotlib")
    paths = plots.draw(report(RATE, PLAIN), tmp_path)
    assert [path.name for path in paths] == ["http.svg"]
    drawn = paths[0].read_text()
    assert drawn.startswith("<?xml")
    plots.draw(report(RATE, PLAIN), tmp_path)
    assert paths[0].read_text() == drawn


def test_the_machine_is_described_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are published."""
    monkeypatch.setattr(socket, "gethostname", lambda: "secret-name")
    monkeypatch.setattr(platform, "node", lambda: "secret-name")
    described = describe()
    assert "cores" in described
    assert "secret-name" not in str(described)
    assert socket.gethostname() not in described.values()


def test_streams_are_summed_up_by_the_wall_clock() -> None:
    """Tokens of all, from the first request to the last token."""
    answer = Answer(tokens=3)
    measured = summary([Timed(0.0, [1.0, 1.5, 2.0], answer), Timed(0.5, [1.5, 2.5, 4.0], answer)])
    assert measured.tokens_per_s == pytest.approx(6 / 4)
    assert measured.first_token_p50_s == 1.0
    assert measured.between_p99_s == 1.5


def test_a_failed_stream_is_no_measurement() -> None:
    """A server that refuses half of its clients must not look fast."""
    good = Timed(0.0, [1.0], Answer(tokens=1))
    with pytest.raises(StartFailed, match="HTTP 503"):
        summary([good, Timed(0.0, [1.0], Answer(error="HTTP 503: full"))])
    with pytest.raises(StartFailed, match="no token came"):
        summary([good, Timed(0.0)])


def test_every_suite_that_is_listed_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """A name in the list can be run."""
    assert cli.main(["bench", "--list"]) == 0
    listed = capsys.readouterr().out
    for name in suites.SUITES:
        assert name in listed
        assert callable(suites.load(name))


def test_flags_choose_suites() -> None:
    """A running cluster is never killed or pinned by a benchmark."""
    assert chosen(None, None) == list(suites.SUITES)
    assert chosen("http,engine", None) == ["http", "engine"]
    assert chosen(None, "http://127.0.0.1:8100") == ["http"]
    with pytest.raises(SettingsError, match="no such suite; there are communication"):
        chosen("speed", None)
    with pytest.raises(SettingsError, match="only the suite http"):
        chosen("recovery", "http://127.0.0.1:8100")


@pytest.mark.parametrize("url", ["8100", "ftp://x", "http://", "http://[::1"])
def test_a_url_that_is_none_is_named(url: str) -> None:
    """With what to write."""
    with pytest.raises(SettingsError, match="write http://HOST:PORT"):
        http.address(url)
    assert http.address("http://localhost:8100") == ("localhost", 8100)


def test_communication_figures_stand_beside_each_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units and directions come from the names of the comm bench."""
    values = {
        "4 KB there and back, p50 us": {"ours": 200.0, "raw TCP": 50.0},
        "128 MB one way, MB/s": {"ours": 900.0, "raw TCP": 1800.0},
    }

    def measure(
        size: int, contestants: list[str], _titles: list[str]
    ) -> dict[str, dict[str, float]]:
        assert size == 2
        assert contestants[0] == "ours"
        return values

    monkeypatch.setattr(communication.bench, "measure", measure)
    task = suites.Task(Path(), lambda _: None, lambda _: None, quick=True)
    trip, bulk = communication.measure_suite(task)
    assert (trip.unit, trip.better, trip.ratio) == ("us", "less", 4.0)
    assert (bulk.unit, bulk.better, bulk.ratio) == ("MB/s", "more", 0.5)
    assert trip.name == "4 KB there and back p50 (raw TCP)"


def test_http_figures_pair_ours_with_the_peer() -> None:
    """Those of the same number of streams."""
    figures = http.figures({1: Measured(1, 100.0, 0.1, 0.01, 0.02)}, {1: Measured(1, 50, 1, 1, 1)})
    assert [figure.ratio for figure in figures] == [2.0, 0.1, 0.01, 0.02]
    alone = http.figures({1: Measured(1, 100.0, 0.1, 0.01, 0.02)}, {})
    assert {figure.ratio for figure in alone} == {None}


def test_cpu_figures_stand_beside_what_memory_allows() -> None:
    """The limit is so many readings of all weights a second."""
    found = {
        "load_s": 0.2,
        "read_gb_s": 10.0,
        "decode_tok_s": 8.0,
        "weights_gb": 1.0,
        "decode_of_memory_limit": 0.8,
        "streams_16_tok_s": 40.0,
        "streams_16_times_one": 5.0,
        "prefill_512_tok_s": 30.0,
        "decode_at_2048_tok_s": 6.0,
        "decode_at_2048_of_128": 0.75,
        "read_gb_s_after": 10.0,
    }
    ratios = {figure.name: figure.ratio for figure in cpu.figures(found)}
    assert ratios == {
        "decode, 1 stream": 0.8,
        "16 streams": 5.0,
        "prefill of 512 tokens": None,
        "decode behind 2048 tokens": 0.75,
        "reading memory": None,
    }


def test_console_figures_stand_beside_budget_and_peer() -> None:
    """Without a budget, beside the peer alone."""
    ours = ConsoleFigures(5.0, 25_000, 4, 25, 0.8, 50 * 2**20)
    stock = ConsoleFigures(50.0, 250_000, 40, 250, 8.0, 500 * 2**20)
    small, large = (console.figures(case, {"ours": ours, "stock widgets": stock}) for case in CASES)
    assert [figure.ratio for figure in small[::2]] == [0.5] * 6
    assert [figure.ratio for figure in small[1::2]] == pytest.approx([0.1] * 6)
    assert len(large) == len(small) - 1, "no budget for output at 64 ranks"
