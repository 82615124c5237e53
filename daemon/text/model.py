"""The text side of one model: prompts in, answer readers out.

Owns everything that depends on the tokenizer. Gets the tokenizer passed (see `loader`), so that
this file needs neither mlx-lm nor transformers. Encoding may run in a thread; the rest on the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.text.answer import AnswerReader
from daemon.text.detokenizer import make_detokenizer
from daemon.text.sections import Marks
from daemon.text.template import RenderedChat, render
from daemon.text.vocabulary import Spelling, Vocabulary, is_mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.text.answer import ToolUse
    from daemon.text.tool_calls import ToolParser


class TextModel:
    """Tokenizer, template and markers of the served model."""

    def __init__(self, tokenizer: Any, spelling: Spelling, max_context: int) -> None:
        """``tokenizer``: mlx-lm's `TokenizerWrapper`."""
        self._tokenizer = tokenizer
        self.max_context = max_context
        """As the model's config says; 0 if it does not."""
        self.stop_ids = tuple(sorted(tokenizer.eos_token_ids))
        self.has_chat_template = bool(tokenizer.has_chat_template)
        self.vocabulary = Vocabulary(
            spelling,
            tokenizer.convert_ids_to_tokens,
            tokenizer.decode,
            _special_ids(tokenizer),
        )
        self.marks = Marks(
            tokenizer.think_start or "",
            tokenizer.think_end or "",
            tokenizer.tool_call_start or "",
            tokenizer.tool_call_end or "",
        )
        self.tool_parser: ToolParser | None = tokenizer.tool_parser
        self.mark_ids = _mark_ids(tokenizer)
        """Tokens that stand for themselves only, by their content."""

    @property
    def tool_style(self) -> str:
        """Name of mlx-lm's parser of tool calls."""
        return getattr(self.tool_parser, "__module__", "").rpartition(".")[2]

    @property
    def can_constrain(self) -> bool:
        """Whether the last rank can tell what its tokens spell."""
        return self.vocabulary.spelling is not Spelling.OTHER

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        options: Mapping[str, Any],
    ) -> RenderedChat:
        """The prompt of a chat; raises `TemplateRefusal`."""
        apply = self._tokenizer.apply_chat_template
        if "enable_thinking" not in options:
            apply = _undecided(self._tokenizer)
        return render(apply, messages, tools, options, self.marks.think_start)

    def encode(self, text: str, *, special: bool) -> tuple[int, ...]:
        """Token ids; ``special`` adds those that a tokenizer puts around plain text."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=special))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of all tokens, special ones included."""
        return str(self._tokenizer.decode(list(tokens)))

    def offsets(self, tokens: Sequence[int]) -> list[int]:
        """Where in their text each token begins."""
        detokenizer = make_detokenizer(self.vocabulary)
        detokenizer.keep_special = True
        starts, length = list[int](), 0
        for token in tokens:
            starts.append(length)
            length += len(detokenizer.add(token))
        return starts

    def token_text(self, token: int) -> str:
        """One token by itself; U+FFFD stands for bytes that are no whole character."""
        return self.vocabulary.bytes_of(token).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> list[int] | None:
        """What a token adds to the text; None for one that is never shown."""
        if token in self.vocabulary.special_ids:
            return None
        return list(self.vocabulary.bytes_of(token))

    def plain_reader(self, stops: tuple[str, ...]) -> AnswerReader:
        """Reader of a completion: no sections."""
        return AnswerReader(make_detokenizer(self.vocabulary), stops)

    def chat_reader(
        self, stops: tuple[str, ...], *, in_reasoning: bool, tool_use: ToolUse | None
    ) -> AnswerReader:
        """Reader of an assistant's message."""
        return AnswerReader(
            make_detokenizer(self.vocabulary),
            stops,
            self.marks,
            in_reasoning=in_reasoning,
            tool_use=tool_use,
        )


def _undecided(tokenizer: Any) -> Any:
    """`apply_chat_template` that leaves thinking to the template's own default.

    mlx-lm's wrapper always passes a switch, so a template in Jinja is applied without it.
    """
    plain = tokenizer._tokenizer  # noqa: SLF001 - the wrapper has no other way in
    in_jinja = plain.chat_template is not None and tokenizer._chat_template is None  # noqa: SLF001
    return plain.apply_chat_template if in_jinja else tokenizer.apply_chat_template


def _mark_ids(tokenizer: Any) -> dict[str, int]:
    added: Mapping[int, Any] = tokenizer.added_tokens_decoder
    return {
        token.content: i
        for i, token in added.items()
        if is_mark(token.content, special=token.special)
    }


def _special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that are never text. Marks of sections are text here, even where they are special."""
    marks = {tokenizer.think_start, tokenizer.think_end}
    marks |= {tokenizer.tool_call_start, tokenizer.tool_call_end, *tokenizer.structural_markers}
    added: Mapping[int, Any] = tokenizer.added_tokens_decoder
    special = {i for i, token in added.items() if token.special and token.content not in marks}
    return frozenset(special | set(tokenizer.eos_token_ids))
