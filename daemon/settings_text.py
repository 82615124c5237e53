"""The settings of a cluster from text and as text: cluster.toml, `MLXCONSOLE_*`, a child's line.

Knows which sections there are and who wins: flag over variable over file over default. How one
table or variable is read is `daemon.settings_file`. No process, no network; any thread.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from daemon.errors import SettingsError
from daemon.settings import ApiPart, ClusterPart, EnginePart, LimitsPart, RankPart, Settings
from daemon.settings_check import check
from daemon.settings_file import (
    Source,
    check_variables,
    environment_changes,
    read_section,
    read_toml,
    variable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OTHER_VARIABLES = frozenset(
    f"MLXCONSOLE_{name}"
    for name in ("ALERTS", "API_KEY", "ASCII", "OPERATOR_TOKEN", "OPERATOR_TOKEN_FILE", "SNAPSHOTS")
)
"""Of the environment, ours, and no settings of a cluster."""
_PARTS: dict[str, type[Any]] = {
    "cluster": ClusterPart,
    "api": ApiPart,
    "engine": EnginePart,
    "limits": LimitsPart,
}


def load(path: Path | None, environ: Mapping[str, str], **overrides: Any) -> Settings:
    """Settings from a file (or the defaults), then `MLXCONSOLE_*`, then ``overrides``.

    Args:
        path: a cluster.toml, or None for the defaults with one rank.
        environ: the process environment; `MLXCONSOLE_<SECTION>_<KEY>` sets one key.
        overrides: ``section_key`` values from flags; None means not given. ``ranks`` is a tuple
            of `RankPart`.

    Raises:
        SettingsError: names file, line and key.
    """
    settings = parse(path) if path else Settings()
    names = [variable(name, key) for name, part in _PARTS.items() for key in _keys(part)]
    check_variables(environ, names, OTHER_VARIABLES)
    for section, part in _PARTS.items():
        changes = environment_changes(environ, section, part)
        given = {
            key: overrides.pop(f"{section}_{key}", None)
            for key in _keys(part)
            if f"{section}_{key}" in overrides
        }
        changes |= {key: value for key, value in given.items() if value is not None}
        if changes:
            new = dataclasses.replace(getattr(settings, section), **changes)
            settings = dataclasses.replace(settings, **{section: new})
    ranks = overrides.pop("ranks", None)
    if ranks is not None:
        settings = dataclasses.replace(settings, ranks=tuple(ranks))
    if overrides:
        raise SettingsError(f"no such setting: {', '.join(sorted(overrides))}")
    return check(settings)


def parse(path: Path) -> Settings:
    """Read a cluster.toml; the environment is not looked at.

    Raises:
        SettingsError: the file can't be read, is no TOML, or holds a wrong key or value.
    """
    data, source = read_toml(path)
    return check(_build(data, source), source)


def to_toml(settings: Settings) -> str:
    """A cluster.toml with every value, for the state folder and as a sample."""
    lines: list[str] = []
    for section in _PARTS:
        lines.append(f"[{section}]")
        part = getattr(settings, section)
        lines += [
            f"{f.name} = {json.dumps(getattr(part, f.name))}" for f in dataclasses.fields(part)
        ]
        lines.append("")
    for part in settings.ranks:
        lines.append("[[ranks]]")
        lines += [
            f"{f.name} = {json.dumps(getattr(part, f.name))}" for f in dataclasses.fields(part)
        ]
        lines.append("")
    return "\n".join(lines)


def to_json(settings: Settings) -> str:
    """One line that `from_json` reads: how a supervisor hands its settings to a child."""
    return json.dumps(dataclasses.asdict(settings), separators=(",", ":"))


def from_json(text: str) -> Settings:
    """Read what `to_json` wrote."""
    source = Source("settings passed by the supervisor", "")
    return check(_build(json.loads(text), source), source)


def _keys(part: type[Any]) -> list[str]:
    return [item.name for item in dataclasses.fields(part)]


def _build(data: dict[str, Any], source: Source) -> Settings:
    unknown = sorted(set(data) - set(_PARTS) - {"ranks"})
    if unknown:
        known = ", ".join([*_PARTS, "ranks"])
        raise SettingsError(
            f"{source.where(unknown[0])}: unknown section or key '{unknown[0]}' (known: {known})"
        )
    parts = {
        name: read_section(part, data.get(name, {}), source, name) for name, part in _PARTS.items()
    }
    tables = data.get("ranks", [{}])
    if not isinstance(tables, list):
        raise SettingsError(
            f"{source.where('ranks')}: ranks must be [[ranks]] tables, one per rank"
        )
    ranks = tuple(read_section(RankPart, t, source, "ranks", i) for i, t in enumerate(tables))
    return Settings(**parts, ranks=ranks)
