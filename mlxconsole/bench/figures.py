"""What a benchmark says: figures, each beside its limit or peer of the same run. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from daemon.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1


@dataclass(frozen=True)
class Figure:
    """One measured value."""

    suite: str
    name: str
    value: float
    unit: str
    better: Literal["more", "less"]
    reference: float | None = None
    """The same of a peer, or a limit; measured in the same run unless it is a goal."""
    reference_name: str = ""
    series: str = ""
    """Figures of one series make one line of a plot."""
    x: float | None = None
    """Where on the plot's axis."""
    x_name: str = ""

    @property
    def ratio(self) -> float | None:
        """Value over reference; None without one."""
        return self.value / self.reference if self.reference else None


@dataclass
class Report:
    """A whole run."""

    command: str
    machine: dict[str, str]
    figures: list[Figure] = field(default_factory=list[Figure])
    missing: list[str] = field(default_factory=list[str])
    """What could not be measured here, and why."""

    def to_json(self) -> str:
        """A document that `from_file` reads."""
        return json.dumps({"version": VERSION} | asdict(self), indent=1)

    @staticmethod
    def from_file(path: Path) -> Report:
        """Read what `to_json` wrote.

        Raises:
            SettingsError: it is something else.
        """
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("version") != VERSION:
                raise SettingsError(f"{path}: of another version of `mlxconsole bench`")
            figures = [Figure(**item) for item in data.pop("figures")]
            return Report(**data, figures=figures)
        except OSError as error:
            raise SettingsError(f"can't read {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsError(f"{path}: not written by `mlxconsole bench`: {error!r}") from error


def against(report: Report, earlier: Report) -> dict[tuple[str, str], float]:
    """Per (suite, name) the value now over the value then."""
    then = {(figure.suite, figure.name): figure.value for figure in earlier.figures}
    return {
        (figure.suite, figure.name): figure.value / then[figure.suite, figure.name]
        for figure in report.figures
        if then.get((figure.suite, figure.name))
    }
