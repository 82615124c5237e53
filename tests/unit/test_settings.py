"""Settings: what a file, the environment and flags may say, and how mistakes are named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from daemon import settings, settings_text
from daemon.errors import SettingsError

SAMPLE = Path(__file__).parents[2] / "launch" / "cluster.sample.toml"


def write(folder: Path, text: str) -> Path:
    """A cluster.toml with ``text``."""
    path = folder / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_one_rank_on_loopback() -> None:
    """No file and no variable still describe a cluster that can run."""
    plain = settings_text.load(None, {})
    assert plain.world_size == 1
    assert plain.ranks[0] == settings.RankPart("127.0.0.1", 50100, 50200)
    assert plain.api_url == "http://127.0.0.1:8100"


def test_environment_beats_file_and_flags_beat_environment(tmp_path: Path) -> None:
    """Flag over variable over file over default, as operators expect."""
    path = write(tmp_path, '[cluster]\nname = "file"\nmodel = "file"\n[limits]\njoin_timeout_s = 5')
    environ = {
        "MLXCONSOLE_CLUSTER_NAME": "environment",
        "MLXCONSOLE_CLUSTER_MODEL": "environment",
        "MLXCONSOLE_API_PORT": "9000",
        "MLXCONSOLE_CLUSTER_INSECURE": "true",
    }
    read = settings_text.load(path, environ, cluster_name="flag", cluster_model=None)
    assert read.cluster == settings.ClusterPart("flag", "environment", insecure=True)
    assert read.api.port == 9000
    assert read.limits.join_timeout_s == 5.0


def test_toml_and_json_round_trip(tmp_path: Path) -> None:
    """What `up` writes for the daemons, and what a supervisor hands on, is read back the same."""
    made = settings_text.load(
        None, {}, ranks=settings.local_ranks(3, 6000, 7000), cluster_model='a "quoted" \\ path'
    )
    assert settings_text.parse(write(tmp_path, settings_text.to_toml(made))) == made
    assert settings_text.from_json(settings_text.to_json(made)) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cluster]\nmodell = 'x'", ":2: unknown key 'modell' in [cluster]"),
        ("\n[clutser]\nmodel = 'x'", ":2: unknown section or key 'clutser'"),
        ("[api]\n\nport = '8100'", ":3: api.port must be a whole number"),
        ("[api]\nport = true", ":2: api.port must be a whole number"),
        ("[limits]\njoin_timeout_s = 'long'", ":2: limits.join_timeout_s must be a number"),
        ("[cluster]\ninsecure = 1", ":2: cluster.insecure must be true or false"),
        ("api = 3", ":1: [api] must be a table"),
        ("[ranks]\nport = 1", ":1: ranks must be [[ranks]] tables"),
        ("[[ranks]]\nport = 1\n[[ranks]]\nhots = 'x'", ":4: unknown key 'hots' in [ranks]"),
        ("[cluster]\nmodel = ", ":2: not valid TOML"),
        ("[cluster]\nmodel = 'a'\n[cluster]\n", ":3: not valid TOML"),
    ],
)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    """The line is what an operator jumps to."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        settings_text.parse(path)
    assert str(caught.value).startswith(str(path) + message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engine]\nexact = true\nkv_bits = 5", ":3: engine.kv_bits is 5: it must be 0 or 8"),
        ("[limits]\n\npeer_timeout_s = 0", ":3: limits.peer_timeout_s is 0.0"),
        ("[api]\nport = 70000", ":2: api.port is 70000"),
        ("[[ranks]]\n[[ranks]]\nmemory_gib = -1.0", ":3: rank 1 memory_gib is -1.0"),
        ("[[ranks]]\nport = 8100", ":2: rank 0 port and api.port are both"),
        ("[[ranks]]\n[[ranks]]\nport = 50100", ":3: rank 1 port and rank 0 port are both"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    """As a mistake of spelling or type is."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        settings_text.parse(path)
    assert str(caught.value).startswith(str(path) + message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ranks = []", "at least 1 rank"),
        ("[api]\nport = 70000", "api.port is 70000: ports go from 1 to 65535"),
        ("[[ranks]]\nport = -1", "rank 0 port is -1"),
        ("[[ranks]]\nport = 8100", "rank 0 port and api.port are both 127.0.0.1:8100"),
        ("[engine]\nmax_queue = 0", "engine.max_queue is 0: it must be over 0"),
        ("[[ranks]]\nhost = '10.0.0.1'", "10.0.0.1, which is not loopback"),
        ("[api]\nhost = '0.0.0.0'", "api.port listens on 0.0.0.0"),
        ("[[ranks]]\nhost = 'studio.local'", "studio.local, which is not loopback"),
        ('[engine]\ncpu_kernels = "fast"', 'engine.cpu_kernels is "fast": it must be auto or off'),
        ("[engine]\nthreads = -1", "engine.threads is -1"),
    ],
)
def test_values_that_contradict_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """Found before any process starts."""
    with pytest.raises(SettingsError, match=message):
        settings_text.parse(write(tmp_path, text))


def test_insecure_allows_other_addresses(tmp_path: Path) -> None:
    """The operator may say that the network is trusted."""
    text = "[cluster]\ninsecure = true\n[api]\nhost = '::'\n[[ranks]]\nhost = '10.0.0.1'"
    read = settings_text.parse(write(tmp_path, text))
    assert read.ranks[0].host == "10.0.0.1"
    assert read.api_url == "http://127.0.0.1:8100"
    spread = dataclasses.replace(read, api=settings.ApiPart(host="fe80::1"))
    assert spread.api_url == "http://[fe80::1]:8100"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, or no text: one line each."""
    with pytest.raises(SettingsError, match=r"can't read .*absent.toml: No such file"):
        settings_text.parse(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        settings_text.parse(binary)


def test_environment_mistakes_name_the_variable() -> None:
    """There is no line to name, but a variable."""
    with pytest.raises(SettingsError, match="MLXCONSOLE_API_PORT in the environment must be"):
        settings_text.load(None, {"MLXCONSOLE_API_PORT": "http"})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("MLXCONSOLE_ENGINE_KVBITS", "MLXCONSOLE_ENGINE_KV_BITS"),
        ("MLXCONSOLE_ENGIN_KV_BITS", "MLXCONSOLE_ENGINE_KV_BITS"),
        ("MLXCONSOLE_API_PROT", "MLXCONSOLE_API_PORT"),
        ("MLXCONSOLE_CLUSTER_XYZ", "MLXCONSOLE_CLUSTER_"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(name: str, near: str) -> None:
    """As the same typo in the file is: nothing starts without what was wanted."""
    with pytest.raises(SettingsError, match=f"{name} in the environment .* did you mean {near}"):
        settings_text.load(None, {name: "8"})


def test_other_variables_are_left_alone() -> None:
    """Those that something else of ours reads, and those of other people."""
    theirs = ("MLXCONSOLE_HOME", "ENGINE_KVBITS", "MLXCONSOLE_ENGINES")
    environ = dict.fromkeys((*settings_text.OTHER_VARIABLES, *theirs), "x")
    assert settings_text.load(None, environ) == settings_text.load(None, {})


def test_every_variable_that_the_code_reads_is_known() -> None:
    """One that is missing in the list could not be set beside a cluster."""
    root = SAMPLE.parents[1]
    sources = [*root.glob("daemon/**/*.py"), *root.glob("mlxconsole/**/*.py")]
    sources += [root / "tests" / "console" / "test_snapshots.py"]
    words = r"[\"\'](MLXCONSOLE_[A-Z_]*[A-Z])[\"\']"
    names = {name for path in sources for name in re.findall(words, path.read_text("utf-8"))}
    assert "MLXCONSOLE_OPERATOR_TOKEN" in names
    settings_text.load(None, dict.fromkeys(names - {"MLXCONSOLE_LIMITS_WARM_SPARE"}, "x"))


def test_zero_ranks_and_unknown_overrides_are_refused() -> None:
    """Flags go through the same checks as files."""
    with pytest.raises(SettingsError, match="at least 1 rank, not 0"):
        settings.local_ranks(0, 1, 2)
    with pytest.raises(SettingsError, match="no such setting: colour"):
        settings_text.load(None, {}, colour="blue")


def test_the_sample_file_is_valid() -> None:
    """It is what people copy; every key in it must exist."""
    sample = settings_text.parse(SAMPLE)
    assert [part.host for part in sample.ranks] == ["192.168.1.10", "192.168.1.11"]
    assert [part.control_port for part in sample.ranks] == [50200, 50201]
