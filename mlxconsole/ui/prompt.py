"""The line at the bottom where a filter or a command is typed; hidden until it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.suggester import SuggestFromList
from textual.widgets import Input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual import events
    from textual.widget import Widget


class Prompt(Input):
    """Asks for one line; Enter answers, Escape takes it back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Take", id="prompt.submit"),
        Binding("escape", "cancel", "Cancel", id="prompt.cancel"),
    ]

    def __init__(self) -> None:
        super().__init__(id="prompt", compact=True)
        self.display = False
        self._answer: Callable[[str], None] | None = None
        self._try: Callable[[str], None] | None = None
        self._before = ""
        self._back_to: Widget | None = None

    def ask(
        self,
        placeholder: str,
        value: str,
        answer: Callable[[str], None],
        while_typing: Callable[[str], None] | None = None,
        suggestions: Iterable[str] = (),
    ) -> None:
        """Open with ``value``; ``while_typing`` gets every change, and ``value`` on Escape."""
        self._answer, self._try, self._before = answer, while_typing, value
        self._back_to = self.screen.focused
        self.placeholder = placeholder
        self.suggester = SuggestFromList(list(suggestions), case_sensitive=False)
        self.value = value
        self.display = True
        self.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show at once what the text would do."""
        event.stop()
        if self.display and self._try:
            self._try(event.value)

    async def action_submit(self) -> None:
        """Take the text."""
        self._close()
        if self._try:  # the last changes may still be under way
            self._try(self.value)
        if self._answer:
            self._answer(self.value)

    async def on_key(self, event: events.Key) -> None:
        """Close in the order of the keys, and hand on those that come after.

        Bindings run when the key has gone up to the app and back: a fast typist's next keys would
        still be taken for text.
        """
        closing = {"enter": "submit", "escape": "cancel"}.get(event.key)
        if self.display and closing is None:
            return
        event.stop()
        event.prevent_default()
        if self.display:
            await self.run_action(f"{closing}")
        else:
            self.app.simulate_key(event.key)

    def action_cancel(self) -> None:
        """Leave things as they were."""
        self._close()
        if self._try:
            self._try(self._before)

    def _close(self) -> None:
        self.display = False
        if self._back_to is not None:
            self.screen.set_focus(self._back_to)
