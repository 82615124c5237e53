"""Restarting a rank: the question, the call in the generation that was seen, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.errors import ClusterError
from mlxconsole.ui.restart_dialog import RestartDialog

if TYPE_CHECKING:
    from textual.screen import Screen

    from mlxconsole.source.base import Source
    from mlxconsole.store import RankView, Store


class Restart:
    """The action, on behalf of a screen."""

    def __init__(self, screen: Screen[None], store: Store, source: Source) -> None:
        self._screen, self._store, self._source = screen, store, source

    def ask(self, view: RankView | None) -> None:
        """Ask, then restart this rank in the generation that the operator saw."""
        if view is None or view.status is None or view.contact != "live":
            self._screen.notify("Nothing to restart: no contact with this rank", severity="warning")
            return
        rank, generation = view.member.rank, view.status.generation

        def decided(confirmed: bool | None) -> None:
            if confirmed:
                self._screen.run_worker(self._restart(rank, generation))

        dialog = RestartDialog(rank, generation, self._store.sequences())
        self._screen.app.push_screen(dialog, decided)

    async def _restart(self, rank: int, generation: int) -> None:
        try:
            answer = await self._source.restart(rank, generation)
        except ClusterError as error:
            self._store.note(f"restart of rank {rank} refused: {error}", "ERROR")
            self._screen.notify(
                str(error), title=f"Rank {rank} not restarted", severity="error", markup=False
            )
        else:
            self._store.note(f"restart of rank {rank}: {answer}", "INFO")
            self._screen.notify(answer, title=f"Rank {rank}", markup=False)
