"""The file of alerts: what it may change, and what it must not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.errors import SettingsError
from mlxconsole.alert_settings import DEFAULTS, AlertSettings, find_settings, read_alerts
from mlxconsole.alerts import Alerts
from mlxconsole.source import seeded
from mlxconsole.source.base import FrameArrived
from mlxconsole.store import Store

SAMPLE = Path(__file__).parents[3] / "launch" / "alerts.sample.toml"


def written(folder: Path, text: str) -> Path:
    """A file with this text."""
    path = folder / "alerts.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    """The rest stays as it is; a rule can be turned off."""
    text = "[signals]\nbell = true\n[memory]\nraised_at = 0.5\ncleared_below = 0.4\n"
    settings = read_alerts(written(tmp_path, text + "[first_token]\nenabled = false\n"))
    assert settings.signals.bell
    assert not settings.signals.notify
    assert settings.rules["memory"].raised_at == 0.5
    assert settings.rules["link"] == DEFAULTS["link"]
    assert not settings.rules["first token"].enabled
    assert settings.rules["first token"].raised_at == DEFAULTS["first token"].raised_at


def test_the_bounds_of_the_file_are_those_that_hold(tmp_path: Path) -> None:
    """And a rule that is off raises nothing."""
    made = seeded.status(0, 1)
    made.memory.limit_bytes = made.memory.mlx_active_bytes * 10 // 6
    for text, raised in (("", False), ("raised_at = 0.5\ncleared_below = 0.5", True)):
        settings = read_alerts(written(tmp_path, f"[memory]\n{text}\n"))
        store = Store(seeded.cluster(1), clock=lambda: 10.0)
        alerts = Alerts(store, settings)
        store.apply(FrameArrived(0, seeded.frame(made), 10.0))
        alerts.look()
        assert bool(alerts.active) == raised


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[memroy]\n", r"alerts.toml:1: \[memroy\] is no alert"),
        ("[memroy]\n", "known: signals, down, .*, first_token, log_drops, clock"),
        ("[memory]\nraise = 1\n", "alerts.toml:2: unknown key 'raise'"),
        ('[memory]\nraised_at = "high"\n', "alerts.toml:2: memory.raised_at must be a number"),
        ("[memory]\nraised_at = 0.5\n", "cleared_below is above raised_at"),
        ("[signals]\nbeep = true\n", "alerts.toml:2: unknown key 'beep'"),
        ("memory", "not valid TOML"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, complaint: str) -> None:
    """An alert that was misspelt would never come."""
    with pytest.raises(SettingsError, match=complaint):
        read_alerts(written(tmp_path, text))


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    """A flag, then the environment, then the user's own, which need not be there."""
    usual = tmp_path / "mlxconsole"
    usual.mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert find_settings(None, environ) == AlertSettings()
    written(usual, "[signals]\nbell = true\n")
    assert find_settings(None, environ).signals.bell
    quiet = written(tmp_path, "")
    assert not find_settings(None, environ | {"MLXCONSOLE_ALERTS": str(quiet)}).signals.bell
    assert not find_settings(quiet, environ).signals.bell
    with pytest.raises(SettingsError, match="can't read"):
        find_settings(tmp_path / "none", environ)


def test_the_sample_says_the_defaults() -> None:
    """Whoever copies it begins with what holds."""
    assert read_alerts(SAMPLE) == AlertSettings()
