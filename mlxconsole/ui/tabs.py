"""The line of pages under the header, with the key of each."""

from __future__ import annotations

from textual.reactive import reactive
from textual.widgets import Static

PAGES = ("ranks", "requests", "logs", "links", "charts", "events", "chat", "why")


class Tabs(Static):
    """Names of the pages; brackets mark the one that is shown."""

    page: reactive[str] = reactive(PAGES[0])

    def __init__(self) -> None:
        super().__init__("", id="tabs", markup=False)

    def watch_page(self, page: str) -> None:
        """Mark the page that is shown."""
        names = (f"{n} {name.title()}" for n, name in enumerate(PAGES, 1))
        marks = (
            f"[{text}]" if name == page else f" {text} "
            for text, name in zip(names, PAGES, strict=True)
        )
        self.update("".join(marks))
