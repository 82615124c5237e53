"""One sequence's tokens, read as an answer: content, reasoning, tool calls, stop strings.

Owns the order of the steps: decode, split into sections, stop on the visible text. One reader per
choice, used on the event loop only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daemon.text.call_pieces import CallReader
from daemon.text.scanner import MarkScanner
from daemon.text.sections import Marks, Section, SectionSplitter
from daemon.text.tool_calls import ToolCall, parse_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daemon.text.call_pieces import CallPiece
    from daemon.text.detokenizer import Detokenizer
    from daemon.text.sections import Part
    from daemon.text.tool_calls import ToolParser


@dataclass(frozen=True, slots=True)
class ToolUse:
    """How this model writes calls, and what it may call."""

    parser: ToolParser
    tools: Sequence[dict[str, Any]]
    one_call: bool = False
    """Stop after the first call (`parallel_tool_calls: false`)."""
    json_calls: bool = False
    calls_instead: bool = False
    """Both: what a grammar guarantees, see `SectionSplitter`."""
    in_pieces: bool = False
    """Give out calls while they are written, if they are JSON. One that has begun so is a call,
    even if it is cut."""

    @property
    def names(self) -> frozenset[str]:
        """Functions that there are."""
        return frozenset(tool["function"]["name"] for tool in self.tools)


@dataclass(slots=True)
class Delta:
    """What one token (or the end) added to the answer."""

    content: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    pieces: list[CallPiece] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.content or self.reasoning or self.calls or self.pieces)


class AnswerReader:
    """Reads one answer. After `stopped`, no more tokens are wanted."""

    def __init__(
        self,
        detokenizer: Detokenizer,
        stops: tuple[str, ...] = (),
        marks: Marks | None = None,
        *,
        in_reasoning: bool = False,
        tool_use: ToolUse | None = None,
    ) -> None:
        """Without ``marks`` all text is content, as in plain completions."""
        self._detokenizer = detokenizer
        self._stop_scanner = MarkScanner(stops)
        self._marks = marks or Marks()
        self._tool_use = tool_use
        self._call_reader = self._next_call()
        calls = tool_use is not None
        self._splitter = SectionSplitter(
            self._marks,
            in_reasoning=in_reasoning,
            calls=calls,
            json_calls=tool_use is not None and tool_use.json_calls,
            calls_instead=tool_use is not None and tool_use.calls_instead,
            call_pieces=tool_use is not None and tool_use.in_pieces,
        )
        self._plain = not (self._marks.think_start or in_reasoning or calls)
        self.stopped = False
        """A stop string was found, or the one allowed call is complete."""
        self.called = False
        """The answer holds at least one call."""
        self.reasoning_tokens = 0
        self.content_seen = 0
        """Characters of content decoded so far, held back ones counted."""
        self.content_given = 0
        """Characters of content given out."""
        self.token_is_content = True
        """Whether the last token belongs to the content (else reasoning, a call, or a mark)."""

    def feed(self, token: int) -> Delta:
        """What ``token`` adds that is certain."""
        text = self._detokenizer.add(token)
        delta = Delta()
        if self._plain:
            if text:
                self._show(text, delta)
            return delta
        before = self._splitter.section
        if text:
            self._take(self._splitter.feed(text), delta)
        self._note_section(before, self._splitter.section)
        return delta

    def finish(self) -> Delta:
        """What was held back; call once, at the end of the tokens, unless `stopped`."""
        delta = Delta()
        text = self._detokenizer.finish()
        self._take(self._splitter.feed(text) if text else (), delta)
        if not self.stopped:
            self._take(self._splitter.finish(), delta)
        if not self.stopped:
            rest = self._stop_scanner.flush()
            self.content_given += len(rest)
            delta.content += rest
        return delta

    def _note_section(self, before: Section, after: Section) -> None:
        if Section.REASONING in (before, after):
            self.reasoning_tokens += 1
        hidden = (Section.REASONING, Section.CALL)
        self.token_is_content = before not in hidden and after not in hidden
        if before is not after:
            self._detokenizer.keep_special = after is Section.CALL

    def _take(self, parts: Iterable[Part], delta: Delta) -> None:
        for section, text in parts:
            if self.stopped:
                return
            if section is Section.REASONING:
                delta.reasoning += text
            elif section is Section.CALL_PIECE:
                self._piece(text, delta)
            elif section is Section.CALL:
                self._call(text, delta)
            elif self._call_reader is None or not self._call_reader.opened:
                self._show(text, delta)
            # Else it is the text of a call that was cut: its pieces are out.

    def _next_call(self) -> CallReader | None:
        use = self._tool_use
        return CallReader(use.names) if use is not None and use.in_pieces else None

    def _piece(self, text: str, delta: Delta) -> None:
        if self._call_reader is None:
            return
        piece = self._call_reader.feed(text)
        if piece is not None:
            self.called = True
            delta.pieces.append(piece)

    def _call(self, text: str, delta: Delta) -> None:
        use = self._tool_use
        if self._call_reader is not None and self._call_reader.opened:
            delta.pieces.append(self._call_reader.close())
            self._call_reader = self._next_call()
            self.stopped = use is not None and use.one_call
            return
        self._call_reader = self._next_call()
        calls = parse_calls(use.parser, text, use.tools) if use else ()
        if not calls:
            self._show(f"{self._marks.call_start}{text}{self._marks.call_end}", delta)
            return
        if use and use.one_call:
            calls = calls[:1]
            self.stopped = True
        self.called = True
        delta.calls.extend(calls)

    def _show(self, text: str, delta: Delta) -> None:
        self.content_seen += len(text)
        certain, stop = self._stop_scanner.feed(text)
        self.content_given += len(certain)
        delta.content += certain
        if stop is not None:
            self.stopped = True
