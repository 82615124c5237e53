"""What a supervisor hands to a child on its command line.

Imported by supervisor, worker and API process; knows none of them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon import settings_text
from daemon.errors import SettingsError

if TYPE_CHECKING:
    from daemon.settings import Settings

EXIT_HOPELESS = 78
"""EX_CONFIG: a child that ends with it says that no restart will help."""

EXIT_STUCK = 70
"""EX_SOFTWARE: a worker ended itself because a step hung; where, is on its standard error."""

SPARE_FLAG = "--spare"
"""Tells a child to import all it needs, then to read its real spec from standard input."""


@dataclass(frozen=True)
class ChildSpec:
    """The whole of a child's identity and configuration."""

    rank: int
    generation: int
    """Counts the children of this kind that the supervisor has started, from 1."""
    boot_id: str
    """Unique to this process among all that ever ran."""
    settings: Settings
    report_fd: int
    """The child writes JSON lines here, see `daemon.telemetry.reporter`."""
    life_fd: int
    """End of file here means that the supervisor is gone, see `daemon.telemetry.lifeline`."""
    log_level: str = "INFO"

    def to_json(self) -> str:
        """One line that `from_json` reads: the value of `--spec`."""
        plain = {
            "rank": self.rank,
            "generation": self.generation,
            "boot_id": self.boot_id,
            "settings": json.loads(settings_text.to_json(self.settings)),
            "report_fd": self.report_fd,
            "life_fd": self.life_fd,
            "log_level": self.log_level,
        }
        return json.dumps(plain, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> ChildSpec:
        """Read what `to_json` wrote.

        Raises:
            SettingsError: the text is something else; children are not started by hand.
        """
        try:
            plain: dict[str, Any] = json.loads(text)
            settings = settings_text.from_json(json.dumps(plain.pop("settings")))
            return ChildSpec(settings=settings, **plain)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SettingsError(
                f"--spec is not what a supervisor writes ({error}): start mlx-daemon instead"
            ) from error


def wait_for_turn() -> ChildSpec:
    """The spec that a spare gets when its turn comes; ends the process if it is dropped instead."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return ChildSpec.from_json(line)
