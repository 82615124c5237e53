"""Splits an answer into what is shown, what is thought, and what is a tool call.

Owns the sections' order and the white space between them. Knows no tokens and no JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from daemon.text.scanner import MarkScanner


class Section(Enum):
    """Parts of an answer."""

    OPENING = "opening"
    """Before the first visible character: thinking may still begin."""
    REASONING = "reasoning"
    CONTENT = "content"
    CALL = "call"
    CALL_PIECE = "call piece"
    """The next part of a call that goes on; the whole `CALL` follows."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The strings by which a model marks sections; empty where it has none."""

    think_start: str = ""
    think_end: str = ""
    call_start: str = ""
    call_end: str = ""
    """Empty with a `call_start`: a call goes to the end of the answer."""


Part = tuple[Section, str]


class SectionSplitter:
    """One answer's sections, piece by piece. A `CALL` part is a whole call, after its pieces."""

    def __init__(
        self,
        marks: Marks,
        *,
        in_reasoning: bool = False,
        calls: bool = True,
        json_calls: bool = False,
        calls_instead: bool = False,
        call_pieces: bool = False,
    ) -> None:
        """Begin an answer.

        Args:
            marks: of the model.
            in_reasoning: the prompt has opened the thinking already.
            calls: look for calls.
            json_calls: a grammar makes each call whole JSON, in which an end mark may be quoted.
            calls_instead: a grammar lets no call follow visible text, which may quote a mark.
            call_pieces: tell of a call while it goes on, too.
        """
        self._marks = marks
        self._json_calls = json_calls
        self._calls_instead = calls_instead
        self._call_pieces = call_pieces
        self._call_start = marks.call_start if calls else ""
        self._space = ""
        """White space whose place is not known yet: shown, or dropped beside a mark."""
        self._call = ""
        self._had_call = False
        self._scanner = MarkScanner()
        opens = bool(marks.think_start) or calls_instead
        first = Section.OPENING if opens else Section.CONTENT
        self._enter(Section.REASONING if in_reasoning else first)

    def _enter(self, section: Section) -> None:
        self.section = section
        watched = {
            Section.OPENING: (self._marks.think_start, self._call_start),
            Section.REASONING: (self._marks.think_end, self._call_start),
            Section.CONTENT: ("" if self._text_only() else self._call_start,),
            Section.CALL: (self._marks.call_end,),
        }[section]
        self._scanner.watch(watched)
        self._trim = section is Section.REASONING

    def feed(self, text: str) -> list[Part]:
        """The parts that are certain after this text."""
        parts: list[Part] = []
        while True:
            certain, mark = self._scanner.feed(text)
            if certain:
                self._take(certain, parts)
            if mark is None:
                return parts
            self._cross(mark, parts)
            text = ""

    def finish(self) -> list[Part]:
        """What is left at the end of the answer; an unfinished call comes back as content."""
        parts: list[Part] = []
        rest = self._scanner.flush()
        if self.section is Section.CALL:
            call = self._call + rest
            if self._call_pieces:
                parts.append((Section.CALL_PIECE, rest))
            if self._marks.call_end:
                parts.append((Section.CONTENT, self._marks.call_start + call))
            else:
                parts.append((Section.CALL, call))
            return parts
        if rest:
            self._take(rest, parts)
        if self._space and self.section is not Section.REASONING and not self._had_call:
            parts.append((Section.CONTENT, self._space))
        return parts

    def _take(self, text: str, parts: list[Part]) -> None:
        if self.section is Section.CALL:
            self._call += text
            if self._call_pieces:
                parts.append((Section.CALL_PIECE, text))
            return
        if self.section is Section.OPENING and not text.isspace():
            trim = self._trim
            self._enter(Section.CONTENT)
            self._trim = trim
        text = self._space + text
        self._space = ""
        if self._trim:
            text = text.lstrip()
            self._trim = not text
        if self._holds_space():
            bare = text.rstrip()
            self._space = text[len(bare) :]
            text = bare
        if text:
            parts.append((self.section, text))

    def _text_only(self) -> bool:
        return self._calls_instead and not self._had_call

    def _is_quoted(self, mark: str) -> bool:
        """Whether a mark is part of the text around it."""
        if self.section is Section.CONTENT:
            # Found in one piece with visible text before it: too late for thinking.
            return mark == self._marks.think_start or self._text_only()
        return self.section is Section.CALL and self._json_calls and not _is_json(self._call)

    def _holds_space(self) -> bool:
        if self.section is Section.CONTENT:
            return bool(self._call_start)
        return True

    def _cross(self, mark: str, parts: list[Part]) -> None:
        if self._is_quoted(mark):
            self._take(mark, parts)
            return
        self._space = ""
        if mark == self._marks.think_start and self.section is Section.OPENING:
            self._enter(Section.REASONING)
        elif mark == self._call_start:
            self._enter(Section.CALL)
            self._call = ""
        elif self.section is Section.CALL:
            parts.append((Section.CALL, self._call))
            self._call = ""
            self._had_call = True
            self._enter(Section.CONTENT)
            self._trim = True
        else:
            self._enter(Section.OPENING if self._calls_instead else Section.CONTENT)
            self._trim = True


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
