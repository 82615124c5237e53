"""The output of a response, item by item, and the events that tell of it.

Owns the order in which items open and close. Pure: updates in, events out.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from daemon.api.logprobs import chat_logprobs
from daemon.text.call_pieces import CallPiece

if TYPE_CHECKING:
    from daemon.api.choice import Update
    from daemon.text.model import TextModel

Event = dict[str, Any]
_ARGUMENTS = "response.function_call_arguments"


class ResponseOutput:
    """Collects one answer as output items."""

    def __init__(self, text: TextModel, top_logprobs: int | None) -> None:
        """``top_logprobs`` is None where no logprobs were asked for."""
        self.items: list[dict[str, Any]] = []
        self.finish_reason = ""
        self._text = text
        self._top_logprobs = top_logprobs
        self._open: dict[str, Any] = {}
        """The item that grows; empty while there is none."""

    def take(self, update: Update) -> list[Event]:
        """Events for one update; they have no sequence numbers yet."""
        events: list[Event] = []
        delta = update.delta
        if delta.reasoning:
            events += self._ensure("reasoning")
            events.append(self._grow("response.reasoning_text.delta", delta.reasoning))
        if delta.content or update.tokens:
            events += self._ensure("message")
            event = self._grow("response.output_text.delta", delta.content)
            event["logprobs"] = logprobs = self._logprobs(update)
            self._part["logprobs"] += logprobs
            events.append(event)
        for call in delta.calls:
            whole = CallPiece(call.call_id, call.name, call.arguments, opens=True, closes=True)
            events += self._piece(whole)
        for piece in delta.pieces:
            events += self._piece(piece)
        if update.finish_reason:
            self.finish_reason = update.finish_reason
            if not any(item["type"] != "reasoning" for item in self.items):
                events += self._ensure("message")
            events += self._close("incomplete" if update.finish_reason == "length" else "completed")
        return events

    @property
    def _part(self) -> dict[str, Any]:
        return self._open["content"][0]

    def _place(self) -> dict[str, Any]:
        place = {"item_id": self._open["id"], "output_index": len(self.items) - 1}
        return place | {"content_index": 0}

    def _ensure(self, kind: str) -> list[Event]:
        """Have an item of ``kind`` open."""
        if self._open.get("type") == kind:
            return []
        events = self._close()
        if kind == "message":
            part: dict[str, Any] = {"type": "output_text", "text": ""}
            part |= {"annotations": [], "logprobs": []}
            item = {"id": _new_id("msg"), "type": kind, "role": "assistant"}
        else:
            part = {"type": "reasoning_text", "text": ""}
            item = {"id": _new_id("rs"), "type": kind, "summary": []}
        item |= {"status": "in_progress", "content": []}
        events.append(self._added(item))
        item["content"] = [part]
        self._open = item
        if kind == "message":
            event = {"type": "response.content_part.added", **self._place(), "part": _copy(part)}
            events.append(event)
        return events

    def _added(self, item: dict[str, Any]) -> Event:
        self.items.append(item)
        index = len(self.items) - 1
        return {"type": "response.output_item.added", "output_index": index, "item": _copy(item)}

    def _grow(self, kind: str, text: str) -> Event:
        self._part["text"] += text
        return {"type": kind, **self._place(), "delta": text}

    def _logprobs(self, update: Update) -> list[dict[str, Any]]:
        if self._top_logprobs is None:
            return []
        return chat_logprobs(self._text, update.tokens, self._top_logprobs)["content"] or []

    def _close(self, status: str = "completed") -> list[Event]:
        item = self._open
        if not item:
            return []
        events: list[Event] = []
        if item["type"] == "message":
            done = {"type": "response.output_text.done", **self._place()}
            part = _copy(self._part)
            events.append(done | {"text": part["text"], "logprobs": part["logprobs"]})
            ended = {"type": "response.content_part.done", **self._place()}
            events.append(ended | {"part": part})
        elif item["type"] == "function_call":
            place = {"item_id": item["id"], "output_index": len(self.items) - 1}
            told = {"name": item["name"], "arguments": item["arguments"]}
            events.append({"type": f"{_ARGUMENTS}.done", **place, **told})
        else:
            done = {"type": "response.reasoning_text.done", **self._place()}
            events.append(done | {"text": self._part["text"]})
        item["status"] = status
        events.append(self._done(item))
        self._open = {}
        return events

    def _done(self, item: dict[str, Any]) -> Event:
        index = len(self.items) - 1
        return {"type": "response.output_item.done", "output_index": index, "item": _copy(item)}

    def _piece(self, piece: CallPiece) -> list[Event]:
        """Open, fill and close a call's item, as far as the piece does."""
        events: list[Event] = []
        if piece.opens:
            events += self._close()
            item: dict[str, Any] = {"id": _new_id("fc"), "type": "function_call"}
            item |= {"status": "in_progress", "call_id": piece.call_id, "name": piece.name}
            item["arguments"] = ""
            events.append(self._added(item))
            self._open = item
        if piece.arguments:
            self._open["arguments"] += piece.arguments
            place = {"item_id": self._open["id"], "output_index": len(self.items) - 1}
            events.append({"type": f"{_ARGUMENTS}.delta", **place, "delta": piece.arguments})
        if piece.closes:
            events += self._close()
        return events


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    """As it is now: items go on growing."""
    return {k: list(v) if isinstance(v, list) else v for k, v in item.items()}
