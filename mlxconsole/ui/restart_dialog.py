"""Asks before a rank is restarted: names it, says what that costs; Cancel has the focus."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

if TYPE_CHECKING:
    from textual.app import ComposeResult


class RestartDialog(ModalScreen[bool]):
    """True when the operator confirmed."""

    CSS_PATH = "restart_dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="restart.cancel"),
        Binding("left,right,h,l", "app.focus_next", "Other button", id="restart.other"),
    ]

    def __init__(self, rank: int, generation: int, sequences: int) -> None:
        super().__init__()
        self._question = f"Restart rank {rank} (generation {generation})?"
        self._cost = (
            f"{sequences} live request{'s pause' if sequences != 1 else ' pauses'} until it has "
            "read its layers again."
            if sequences
            else "No request is running."
        )

    def compose(self) -> ComposeResult:
        """The question, its cost, two buttons."""
        with Vertical(id="dialog"):
            yield Static(self._question, id="question", markup=False)
            yield Static(self._cost, id="cost", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Restart", id="confirm", variant="error", compact=True)

    def on_mount(self) -> None:
        """Rest on the harmless answer."""
        self.query_one("#cancel").focus()

    @on(Button.Pressed, "#confirm")
    def confirm(self) -> None:
        """The operator said so."""
        self.dismiss(True)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss(False)
