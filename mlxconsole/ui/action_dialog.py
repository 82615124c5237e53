"""Asks before something changes: names the target, says what it costs; Cancel has the focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

if TYPE_CHECKING:
    from textual.app import ComposeResult

HINT = "Tab to a button, Enter confirms it, Escape cancels"
TYPED_HINT = "type it, then Enter confirms, Escape cancels"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    text: str
    cost: str
    choices: tuple[tuple[str, str], ...]
    """Id and label of each way to go on."""
    typed: str = ""
    """What must be typed first; empty: nothing."""


class ActionDialog(ModalScreen[str]):
    """The id of the choice that the operator confirmed; empty if none."""

    CSS_PATH = "action_dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="dialog.cancel"),
        Binding("tab,right,down", "app.focus_next", "Next button", id="dialog.next"),
        Binding("left,up", "app.focus_previous", "Button before", id="dialog.previous"),
    ]

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question, its cost, what to type, the buttons."""
        question = self._question
        with Vertical(id="dialog") as box:
            box.border_subtitle = TYPED_HINT if question.typed else HINT
            yield Static(question.text, id="question", markup=False)
            yield Static(question.cost, id="cost", markup=False)
            if question.typed:
                yield Static(f"Type  {question.typed}  to go on:", markup=False)
                yield Input(id="typed", compact=True)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                for name, label in question.choices:
                    disabled = bool(question.typed)
                    yield Button(label, id=name, variant="error", compact=True, disabled=disabled)

    def on_mount(self) -> None:
        """Rest on the harmless answer, or where something has to be typed."""
        self.query_one("#typed" if self._question.typed else "#cancel").focus()

    @on(Input.Changed)
    def compare(self, event: Input.Changed) -> None:
        """Offer to go on once the text is right."""
        for name, _ in self._question.choices:
            self.query_one(f"#{name}").disabled = not self._is_right(event.value)

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Enter goes on if the text is right, and does nothing otherwise."""
        if self._is_right(event.value):
            self.dismiss(self._question.choices[0][0])

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """The operator has decided."""
        self.dismiss("" if event.button.id == "cancel" else event.button.id)

    def action_cancel(self) -> None:
        """Nothing happens."""
        self.dismiss("")

    def _is_right(self, text: str) -> bool:
        return " ".join(text.split()) == self._question.typed
