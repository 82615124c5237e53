"""What an operator does to ranks and requests: the question, the calls, what came of them.

Every call carries the generation that was on the screen when the dialog opened.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from daemon.errors import ClusterError
from mlxconsole.source.base import Action
from mlxconsole.ui.action_dialog import ActionDialog, Question
from mlxconsole.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.screen import Screen

    from mlxconsole.source.base import ActionName, Source
    from mlxconsole.store import RankView, Store
    from protos.control_pb2 import RequestStatus

DRAIN_TIMEOUT_S = 30.0
RELOAD = re.compile(r"worker \d+ is READY ([\d.]+) s after")
LABELS = {"restart": "Restart now", "drain": "Drain", "undrain": "Undrain", "kill": "Kill"}


class Acting:
    """The actions, on behalf of a screen."""

    def __init__(self, screen: Screen[None], store: Store, source: Source) -> None:
        self._screen, self._store, self._source = screen, store, source

    def ask(self, name: ActionName, views: Sequence[RankView]) -> None:
        """Ask, then do it to these ranks in the generations that the operator saw."""
        seen = [(v.member.rank, v.status.generation) for v in views if v.status and _live(v)]
        if not seen or len(seen) < len(views):
            lost = next((f" with rank {v.member.rank}" for v in views if not _live(v)), "")
            self._screen.notify(f"Nothing to {name}: no contact{lost}", severity="warning")
            return

        def decided(choice: str) -> None:
            drain_s = DRAIN_TIMEOUT_S if choice == "drain_first" else 0.0
            for rank, generation in seen:
                self._begin(Action(name, rank, generation, drain_s))

        self._confirm(self._question(name, seen), decided)

    def cancel(self, request: RequestStatus) -> None:
        """Ask, then end one request."""
        first = self._store.ranks[0]
        if first.status is None or not _live(first):
            self._screen.notify("Nothing to cancel: no contact with rank 0", severity="warning")
            return
        action = Action("cancel", 0, first.status.generation, request_id=request.id)

        done = f"{request.generated_tokens} of at most {request.max_tokens} tokens are written."
        text = f"Cancel request {request.id}?"
        cost = f"{done} Its client gets an error that says so."
        question = Question(text, cost, (("confirm", "Cancel the request"),))
        self._confirm(question, lambda _choice: self._begin(action))

    def _confirm(self, question: Question, decided: Callable[[str], None]) -> None:
        """Ask; a dialog that closes without a word leaves one guessing what came of it."""

        def closed(choice: str | None) -> None:
            if choice:
                decided(choice)
            else:
                self._screen.notify("Not confirmed: nothing was done")

        self._screen.app.push_screen(ActionDialog(question), closed)

    def _question(self, name: ActionName, seen: Sequence[tuple[int, int]]) -> Question:
        ranks = " ".join(str(rank) for rank, _ in seen)
        if len(seen) == 1:
            text = f"{name.title()} rank {ranks} (generation {seen[0][1]})?"
        else:
            text = f"{name.title()} ranks {ranks.replace(' ', ', ')}?"
        choices = [("confirm", LABELS[name])]
        if name == "restart":
            choices.append(("drain_first", f"Drain first ({duration(DRAIN_TIMEOUT_S)} at most)"))
        typed = f"{name} {ranks}" if name == "kill" or len(seen) > 1 else ""
        return Question(text, self._cost(name, seen), tuple(choices), typed)

    def _cost(self, name: ActionName, seen: Sequence[tuple[int, int]]) -> str:
        """The blast radius, in words."""
        live = self._store.sequences()
        pausing = f"{live} live request{'s pause' if live != 1 else ' pauses'}"
        again = self._last_reload({rank for rank, _ in seen})
        if name == "undrain":
            return f"It takes its layers back: {pausing if live else 'no request pauses'}{again}."
        if name == "drain" and any(rank == 0 for rank, _ in seen):
            return f"Rank 0 decides for all: no new request begins; {live} run to their end."
        if name == "drain":
            kept = "or, if they have no room, no new request begins"
            return (
                f"The others take its layers: {pausing if live else 'none pauses'}{again}; {kept}."
            )
        if not live:
            return "No request is running."
        return f"{pausing} until it has read its layers again{again}."

    def _last_reload(self, ranks: set[int]) -> str:
        events = self._store.events
        for number in range(events.end - 1, events.start - 1, -1):
            entry = events.get(number)
            found = RELOAD.search(entry.text) if entry and entry.rank in ranks else None
            if found:
                return f"; about {float(found[1]):.1f} s by the last reload"
        return ""

    def _begin(self, action: Action) -> None:
        self._screen.run_worker(self._act(action))

    async def _act(self, action: Action) -> None:
        target = action.request_id or f"rank {action.rank}"
        try:
            answer = await self._source.act(action)
        except ClusterError as error:
            self._store.note(f"{action.name} of {target} refused: {error}", "ERROR")
            title = f"{target.capitalize()}: {action.name} refused"
            self._screen.notify(str(error), title=title, severity="error", markup=False)
        else:
            self._store.note(f"{action.name} of {target}: {answer}", "INFO")
            self._screen.notify(answer, title=target.capitalize(), markup=False)


def _live(view: RankView) -> bool:
    return view.contact == "live" and view.status is not None
