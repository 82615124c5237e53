"""The page to talk with the cluster: the conversation, its speed, and which ranks worked.

Runs in the app's event loop; `mlxconsole.chat` does the talking.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from mlxconsole.chat import ChatError, Turn, ask
from mlxconsole.request_rows import milliseconds
from mlxconsole.units import rate

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from mlxconsole.store import Store

PLACEHOLDER = "Your question"
WELCOME = "Ask the cluster something; Enter sends, Escape ends an answer, ctrl+n starts anew."
RECORDING = "This is a recording: nobody is there to answer, so it takes no prompt."


class ChatView(Vertical):
    """A conversation; every turn waits for the one before.

    A replay has none: the address in a recording may be that of a cluster that serves today.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "end", "End answer, leave", id="chat.end"),
        Binding("ctrl+n", "anew", "New conversation", id="chat.new"),
    ]

    def __init__(self, store: Store) -> None:
        super().__init__(id="chat")
        self._store = store
        self._recording = store.playback is not None
        self._turns: list[Turn] = []
        self._answering: asyncio.Task[None] | None = None
        self._steps: dict[int, int] = {}
        self._text = ""
        self._said = Static("", markup=False)
        self._figures = Static("", id="chat-figures", markup=False)
        self._input = Input(placeholder=PLACEHOLDER, id="chat-input", compact=True)

    def compose(self) -> ComposeResult:
        """The conversation, its figures, the line to write in."""
        with VerticalScroll(can_focus=self._recording, id="chat-said"):
            yield self._said
        yield self._figures
        if not self._recording:
            yield self._input

    def focus(self, scroll_visible: bool = True) -> ChatView:
        """Write; in a replay, where nobody can, read."""
        where = self.query_one("#chat-said") if self._recording else self._input
        where.focus(scroll_visible)
        return self

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A replay has no answer to end and no conversation to begin: Escape leaves the page."""
        return not (self._recording and action in {"end", "anew"})

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Ask, unless an answer is on its way."""
        event.stop()
        question = event.value.strip()
        if not question or self._answering is not None:
            return
        self._input.value = ""
        self._turns.append(Turn(question))
        self._steps = self._ran()
        self._answering = asyncio.create_task(self._answer(self._turns[-1]), name="chat")
        self.paint()

    def paint(self) -> None:
        """Show what has come by now."""
        text = "\n\n".join(_words(turn) for turn in self._turns)
        text = text or (RECORDING if self._recording else WELCOME)
        if text != self._text:
            self._text = text
            self._said.update(text)
            self.query_one("#chat-said").scroll_end(animate=False)
        self._figures.update(self._figures_text())

    def action_end(self) -> None:
        """End the answer; without one, leave the page."""
        if self._answering is not None:
            self._answering.cancel()
        else:
            self.screen.focus_next()
            self.app.call_later(self.screen.run_action, "page('ranks')")

    def action_anew(self) -> None:
        """Forget what was said."""
        if self._answering is not None:
            self._answering.cancel()
        self._turns = []
        self.paint()

    async def _answer(self, turn: Turn) -> None:
        cluster = self._store.cluster
        pieces = ask(cluster.api_url, cluster.model, self._turns)
        try:
            async for text, tokens in pieces:
                turn.take(text, tokens)
            turn.state = "done"
        except ChatError as error:
            turn.state = str(error)
        except asyncio.CancelledError:
            turn.state = "cancelled"
        finally:
            self._answering = None
            await pieces.aclose()

    def _ran(self) -> dict[int, int]:
        ranks = self._store.ranks.items()
        return {rank: view.status.counters.steps for rank, view in ranks if view.status}

    def _figures_text(self) -> str:
        if not self._turns:
            return ""
        turn, now = self._turns[-1], self._ran()
        worked = [str(r) for r, steps in now.items() if steps > self._steps.get(r, steps)]
        who = f"ranks {', '.join(worked)} worked" if worked else "no rank has worked yet"
        first, speed = milliseconds(turn.first_token_s), rate(turn.tokens_per_s)
        return f"TTFT {first} | {speed} tok/s | {turn.tokens} tokens | {who} | {turn.state}"


def _words(turn: Turn) -> str:
    answer = turn.answer or ("..." if turn.state == "asking" else "")
    ended = "" if turn.state in {"asking", "answering", "done"} else f"\n[{turn.state}]"
    return f"> {turn.question}\n{answer}{ended}"
