"""What a log says about itself: whose lines, which of them, why there are none. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlxconsole.store import Store
    from mlxconsole.ui.log_view import LogView


def title(view: LogView, store: Store) -> str:
    """What is shown, and what is not."""
    query, fresh = view.wanted, view.selection.taken - view.seen
    parts = [view.id or "", "all ranks" if query.rank is None else f"rank {query.rank} only"]
    if query.level != "DEBUG":
        parts.append(f">={query.level}")
    if query.pattern:
        parts.append(f"/{query.pattern.pattern} {'hides' if query.hide else 'dims'} others")
    if view.selection.until is not None:
        held = f"+{view.ring.end - view.selection.until}"
        parts.append(f"REWOUND {held}" if store.timeline.shown else f"PAUSED {held}, p goes on")
    elif view.following:
        parts.append("FOLLOW the recording" if store.playback else "FOLLOW")
    else:
        parts.append(f"+{fresh} new, f follows" if fresh else "f follows")
    if view.id == "log" and store.log_lines_lost:
        parts.append(f"{store.log_lines_lost} lost")
    return " | ".join(parts).replace("[", r"\[")


def nothing(view: LogView, store: Store) -> str:
    """What stands in place of lines when there are none."""
    if store.nobody_answered():
        return f"No rank answers. Start them: {store.start_command}"
    if not view.ring.end:
        return "Nothing has happened yet." if view.id == "events" else "No line has come yet."
    return "No line is like that: L changes the level, Escape drops pattern and rank."
