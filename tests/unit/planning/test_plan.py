"""`mlxconsole plan`: from two files to a table, or to one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.errors import SettingsError
from daemon.execution.devices import BANDWIDTH_SHARE, KINDS
from mlxconsole import cli
from mlxconsole.planning.devices_file import read_devices
from mlxconsole.planning.plan import make_plan
from mlxconsole.planning.plan_table import table
from tests.unit.execution.test_placement import QWEN3_1_7B

ROOT = Path(__file__).resolve().parents[3]
TWO_KINDS = """
[network]
hop_ms = 2.0

[[devices]]
kind = "M4 Max"
memory_gib = 64
count = 2

[[devices]]
kind = "other"
name = "box"
usable_gib = 12
bandwidth_gb_s = 50
"""


def write(folder: Path, text: str) -> Path:
    """A devices.toml."""
    path = folder / "devices.toml"
    path.write_text(text)
    return path


def test_devices_come_in_rank_order_with_what_their_kind_brings(tmp_path: Path) -> None:
    """Counted tables stand for several ranks."""
    machines = read_devices(write(tmp_path, TWO_KINDS))
    assert [named.name for named in machines.devices] == ["M4 Max", "M4 Max", "box"]
    first, _, box = (named.device for named in machines.devices)
    assert first.speed == KINDS["M4 Max"].bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE
    assert first.memory_bytes == 48 << 30
    assert (box.memory_bytes, box.flops) == (12 << 30, 0.0)
    assert machines.hop_s == 0.002


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"devices.toml: no \[\[devices\]\] tables"),
        (
            "[[devices]]\nkind = 'M9'\nmemory_gib = 1",
            r"toml:2: devices.kind is no known kind: 'M9'",
        ),
        ("[[devices]]\nkind = 'M4'", r"toml:1: devices.memory_gib is missing"),
        ("[[devices]]\nmemory_gib = 8", r"toml:1: devices.bandwidth_gb_s is missing"),
        ("[[devices]]\n\nmemory = 8", r"toml:3: unknown key 'memory' in \[devices\]"),
        ("[[devices]]\nmemory_gib = 'x'", r"toml:2: devices.memory_gib must be a number"),
        ("[[devices]]\nkind = 'M4'\nmemory_gib = 8\ncount = 0", r"toml:4: devices.count is 0"),
        ("[[devices]]\nkind = 'M4'\nmemory_gib = -1", r"toml:3: devices.memory_gib is below 0"),
        ("[[devices]]\nkind = 'M4'\nmemory_gib = 8\ncount = 65", r"65 devices; at most 64"),
        ("[device]\nkind = 'M4'", r"toml:1: unknown section or key 'device'"),
        ("[[devices]\n", r"toml:1: not valid TOML"),
        ("[network]\nhop_ms = -1\n[[devices]]\nkind = 'M4'", r"toml:2: network.hop_ms is below 0"),
    ],
)
def test_mistakes_name_file_line_and_key(text: str, complaint: str, tmp_path: Path) -> None:
    """What, where, what to do."""
    with pytest.raises(SettingsError, match=complaint):
        read_devices(write(tmp_path, text))


def test_the_table_tells_who_holds_what(tmp_path: Path) -> None:
    """Every rank, the total, one stream, many, and what was assumed."""
    machines = read_devices(write(tmp_path, TWO_KINDS))
    plan = make_plan(QWEN3_1_7B, machines, context_tokens=4096, streams=2)
    lines = table(plan)
    assert [line.split()[0] for line in lines[1:6]] == ["RANK", "0", "1", "2", "all"]
    assert "3 machines" in lines[5]
    assert f"{plan.kv_capacity_tokens:,}" in lines[5]
    assert "one stream:" in lines[6]
    assert "2 ms from rank to rank" in lines[8]
    # Little work for the slow box; headroom is what weights and two contexts leave.
    layers = [row.hi - row.lo for row in plan.ranks]
    assert layers[2] < layers[0]
    kv = 2 * 4096 * 4096 * layers[0]
    assert plan.used_bytes(0) == plan.ranks[0].weights_bytes + kv


def test_the_command_plans_the_demo_model_on_the_sample(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sample file is one that works."""
    sample = str(ROOT / "launch" / "devices.sample.toml")
    assert cli.main(["plan", "--model", "demo", "--devices", sample, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == 1
    spans = [rank["layers"] for rank in document["ranks"]]
    assert spans[0][0] == 0
    assert spans[-1][1] == document["model"]["layers"]
    assert [a[1] for a in spans[:-1]] == [b[0] for b in spans[1:]]
    assert document["saturated"]["tokens_per_s"] > document["one_stream"]["tokens_per_s"]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--model", "/no/model"], "no such folder"),
        (["--context", "100000"], "--context 100000: from 1 to 8,192"),
        (["--streams", "0"], "--streams 0: at least 1"),
    ],
)
def test_the_command_complains_in_one_line(
    flags: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And with an exit code."""
    given = ["plan", "--model", "demo", "--devices", str(write(tmp_path, TWO_KINDS)), *flags]
    assert cli.main(given) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_what_does_not_fit_says_what_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes missing, and the ways out."""
    text = "[[devices]]\nkind = 'other'\nusable_gib = 0.002\nbandwidth_gb_s = 50"
    devices = str(write(tmp_path, text))
    assert cli.main(["plan", "--model", "demo", "--context", "64", "--devices", devices]) == 1
    error = capsys.readouterr().err
    assert "bytes (" in error
    assert "are missing" in error
    assert "ranks would do" in error
