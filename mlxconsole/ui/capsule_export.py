"""Writing a capsule: the last minutes of everything, as a file that `replay` opens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole.recording.files import write_capsule
from mlxconsole.units import size

if TYPE_CHECKING:
    from textual.screen import Screen

    from mlxconsole.recording.flight import FlightRecorder
    from mlxconsole.store import Store

MINUTES = 10


class CapsuleExport:
    """The action, on behalf of a screen."""

    def __init__(self, screen: Screen[None], store: Store, flight: FlightRecorder) -> None:
        self._screen, self._store, self._flight = screen, store, flight

    async def write(self, folder: Path | None = None) -> None:
        """Write it where the console was started, off the loop: disks may be slow."""
        data = self._flight.capsule(MINUTES * 60.0)
        name = self._store.cluster.name
        try:
            path = await asyncio.to_thread(write_capsule, folder or Path.cwd(), name, data)
        except SettingsError as error:
            self._screen.notify(str(error), title="No capsule", severity="error", markup=False)
            return
        self._store.note(f"capsule of the last {MINUTES} minutes: {path}", "INFO")
        self._screen.notify(
            f"{path}, {size(len(data))}: `mlxconsole replay` opens it",
            title=f"The last {MINUTES} minutes",
            markup=False,
        )
