"""From where on something needs an operator: the bounds of every alert, and a file that moves them.

Pure but for the file. What a rule reads and says is in `alert_rules`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from daemon.settings_file import read_section, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "MLXCONSOLE_ALERTS"
USUAL = Path("mlxconsole") / "alerts.toml"
"""Under the user's folder of settings."""


@dataclass(frozen=True)
class Bounds:
    """Of one rule; the unit is the rule's."""

    enabled: bool = True
    raised_at: float = 0.0
    """A value of this or more raises the alert."""
    cleared_below: float = 0.0
    """A value under this ends it; between the two it stays as it is."""
    for_s: float = 0.0
    """How long the value has to be there before it is told of."""
    floor: float = 0.0
    """What has to be reached before the value counts at all; see the rule."""


DEFAULTS: Mapping[str, Bounds] = {
    "down": Bounds(raised_at=1, cleared_below=1),
    "silent": Bounds(raised_at=2.0, cleared_below=2.0),
    # One step of a large model on a slow machine takes seconds.
    "stuck": Bounds(raised_at=10.0, cleared_below=10.0),
    "memory": Bounds(raised_at=0.90, cleared_below=0.85),
    # Without enough sequences for every rank, a bubble is want of work, not a fault.
    "bubble": Bounds(raised_at=0.30, cleared_below=0.20, for_s=60.0, floor=2.0),
    # A busy machine lets a process wait milliseconds for a core: no fault of the link.
    "link": Bounds(raised_at=3.0, cleared_below=2.0, for_s=30.0, floor=0.02),
    "queue": Bounds(raised_at=8, cleared_below=1, floor=16),
    "restarts": Bounds(raised_at=3, cleared_below=3),
    "first token": Bounds(raised_at=10.0, cleared_below=5.0),
    # A burst is cut off without harm; a minute of them means that somebody misses something.
    "log drops": Bounds(raised_at=100, cleared_below=1),
    "clock": Bounds(raised_at=2.0, cleared_below=1.0),
}
"""By rule. In a file the names have `_` for the space."""


@dataclass(frozen=True)
class Signals:
    """`[signals]`: how else an alert makes itself known."""

    bell: bool = False
    """Ring the terminal's bell."""
    notify: bool = False
    """Have the terminal show a desktop notice (OSC 9), where it can."""


@dataclass(frozen=True)
class AlertSettings:
    """What one console goes by."""

    rules: Mapping[str, Bounds] = field(default_factory=lambda: DEFAULTS)
    signals: Signals = field(default_factory=Signals)


def find_settings(given: Path | None, environ: Mapping[str, str] = os.environ) -> AlertSettings:
    """Those of the file that a flag or the environment names, of the user's own, or the defaults.

    Raises:
        SettingsError: the file can't be read, or says something that is no bound.
    """
    named = given or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if named is not None:
        return read_alerts(named)
    home = environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    usual = Path(home) / USUAL
    return read_alerts(usual) if usual.is_file() else AlertSettings()


def read_alerts(path: Path) -> AlertSettings:
    """The defaults with what a file changes.

    Raises:
        SettingsError: names file, line and key.
    """
    data, source = read_toml(path)
    signals = read_section(Signals, data.pop("signals", {}), source, "signals")
    rules = dict(DEFAULTS)
    for section, table in data.items():
        name = section.replace("_", " ")
        if name not in rules:
            known = ", ".join(each.replace(" ", "_") for each in ("signals", *rules))
            raise SettingsError(
                f"{source.where(section)}: [{section}] is no alert (known: {known})"
            )
        changed = read_section(Bounds, table, source, section)
        bounds = replace(rules[name], **{key: getattr(changed, key) for key in table})
        if bounds.cleared_below > bounds.raised_at:
            where = source.where(section, "cleared_below")
            raise SettingsError(
                f"{where}: {section}.cleared_below is above raised_at: the alert could never end"
            )
        rules[name] = bounds
    return AlertSettings(rules, signals)
