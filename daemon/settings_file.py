"""Reading settings text: TOML tables and environment variables into frozen dataclasses.

Knows how to name file, line and key of a mistake; does not know which sections there are: that is
`daemon.settings_text`, for a cluster. No process, no network; any thread.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from daemon.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Section = TypeVar("Section")

PREFIX = "MLXCONSOLE_"
_ALIKE = 0.8
"""From here on (1: the same) a name is a slip of another."""
_NAMES: dict[type[Any], str] = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@dataclass(frozen=True)
class Source:
    """Where settings text came from, to name file and line in errors."""

    name: str
    text: str

    def where(self, section: str, key: str | None = None, index: int | None = None) -> str:
        """``file:line`` of a key (or of its section), as well as a scan can tell."""
        line = find_line(self.text, section, key, index)
        return f"{self.name}:{line}" if line else self.name

    def at(self, name: str) -> str:
        """``file:line: `` of a value such as ``api.port`` or ``rank 1 port``; empty without one."""
        if not self.name:
            return ""
        if name.startswith("rank "):
            _, rank, key = name.split()
            return f"{self.where('ranks', key, int(rank))}: "
        section, key = name.split(".")
        return f"{self.where(section, key)}: "


NOWHERE = Source("", "")
"""Of settings that flags and variables made."""


def read_toml(path: Path) -> tuple[dict[str, Any], Source]:
    """The tables of a TOML file, and where they came from.

    Raises:
        SettingsError: the file can't be read or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"can't read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"can't read {path}: it is not UTF-8 text") from error
    try:
        return tomllib.loads(text), Source(str(path), text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = found[1] if found else text.count("\n") + 1
        raise SettingsError(f"{path}:{line}: not valid TOML: {error}") from error


def read_section(
    part: type[Section], table: Any, source: Source, name: str, index: int | None = None
) -> Section:
    """One table as its dataclass; ``index`` counts the tables of a `[[name]]` array.

    Raises:
        SettingsError: an unknown key or a value of the wrong type.
    """
    if not isinstance(table, dict):
        raise SettingsError(f"{source.where(name, None, index)}: [{name}] must be a table")
    types = get_type_hints(part)
    values: dict[str, Any] = {}
    for key, value in table.items():
        where = source.where(name, key, index)
        if key not in types:
            raise SettingsError(
                f"{where}: unknown key '{key}' in [{name}] (known: {', '.join(types)})"
            )
        values[key] = _value(value, types[key], f"{where}: {name}.{key}")
    return part(**values)


def variable(section: str, key: str) -> str:
    """The environment variable that sets one key."""
    return f"{PREFIX}{section}_{key}".upper()


def check_variables(environ: Mapping[str, str], known: Sequence[str], ours: Iterable[str]) -> None:
    """Refuse variables that look like settings and are none.

    Args:
        environ: the process environment.
        known: the variables that are settings.
        ours: others of this project, which somebody else reads.

    Raises:
        SettingsError: names the variable, and the nearest that there is.
    """
    sections = tuple({"_".join(name.split("_")[:2]) + "_" for name in known})
    names = {name.removeprefix(PREFIX): name for name in (*known, *ours)}
    for name in sorted(set(environ) - set(names.values())):
        # A slip in the section's name, too; but what is like none of ours may be anybody's.
        alike = 0.0 if name.startswith(sections) else _ALIKE
        near = difflib.get_close_matches(name.removeprefix(PREFIX), names, 1, alike)
        if name.startswith(PREFIX) and near:
            raise SettingsError(
                f"{name} in the environment is no setting: did you mean {names[near[0]]}? "
                "If not, unset it"
            )


def environment_changes(
    environ: Mapping[str, str], section: str, part: type[Any]
) -> dict[str, Any]:
    """Values that `MLXCONSOLE_<SECTION>_<KEY>` variables set in one section.

    Raises:
        SettingsError: a value of the wrong type; names the variable.
    """
    changes: dict[str, Any] = {}
    for key, kind in get_type_hints(part).items():
        name = variable(section, key)
        text = environ.get(name)
        if text is None:
            continue
        try:
            raw = text if kind is str else json.loads(text)
        except json.JSONDecodeError:
            raw = text
        changes[key] = _value(raw, kind, f"{name} in the environment")
    return changes


def find_line(text: str, section: str, key: str | None, index: int | None) -> int | None:
    """Line of ``key`` under ``[section]`` (the ``index``-th such table), or of its header."""
    current, seen, header = "", -1, None
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"\s*\[+\s*([\w.\-]+)\s*\]+", line)
        if found:
            current = found[1]
            seen += current == section
        inside = current == section and (index is None or seen == index)
        if inside and header is None:
            header = number
        if key and inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
        if not current and re.match(rf"\s*{re.escape(section)}\s*=", line):
            return number
    return header


def _value(value: Any, kind: type[Any], where: str) -> Any:
    """``value`` as ``kind``; an int serves as a float, a bool as neither."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise SettingsError(f"{where} must be {_NAMES[kind]}, not {json.dumps(value, default=str)}")
    return value
