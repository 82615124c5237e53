"""From a checked chat request to sequences that can run.

Owns the prompt: template, thinking switch, tools, token budget. Chat and responses share it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.api.choice import Choice
from daemon.api.constraints import has_form, is_constrained, make_grammar
from daemon.api.engine import GenerateCall
from daemon.api.errors import bad_request
from daemon.api.http import client, request_id
from daemon.api.sampling import for_choice, sampling_params, token_budget
from daemon.text.answer import ToolUse
from daemon.text.grammar import Thinking
from daemon.text.template import TemplateRefusal

if TYPE_CHECKING:
    from daemon.api.context import ApiContext
    from daemon.api.schemas.chat import ChatRequest
    from daemon.text.model import TextModel
    from daemon.text.template import RenderedChat

NO_THINKING = {"none", "minimal"}
RESERVED_OPTIONS = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "max_length",
    "messages",
    "padding",
    "processor_kwargs",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "self",
    "tokenize",
    "tokenizer_kwargs",
    "tools",
    "truncation",
}
"""Parameters of transformers' `apply_chat_template` that are not the template's own."""


@dataclass(frozen=True, slots=True)
class PreparedChat:
    """A request, ready to run."""

    text: TextModel
    model: str
    fingerprint: str
    calls: list[GenerateCall]
    choices: list[Choice]
    top_logprobs: int | None
    """None: no logprobs wanted."""


async def prepare_chat(context: ApiContext, request: ChatRequest) -> PreparedChat:
    """Render, count, and lay out one sequence per choice.

    Raises:
        ApiError: the template refuses the messages, or they do not fit.
    """
    text = await context.text()
    tools = _tools(request)
    rendered = _render(text, request, tools)
    prompt_ids = await context.encode(rendered.text, special=False)
    info = await context.info()
    sampling = sampling_params(
        request,
        info.vocab_size if info else 0,
        logprobs=bool(request.logprobs),
        top_logprobs=request.top_logprobs or 0,
    )
    max_tokens = token_budget(
        len(prompt_ids),
        request.max_completion_tokens or request.max_tokens,
        await context.max_context(),
        context.settings.engine.max_output_tokens,
        "messages",
    )
    constrained = is_constrained(request)
    if constrained:
        thinking = _thinking(text, request, rendered)
        grammar = await context.in_thread(lambda: make_grammar(request, text, thinking))
        sampling = dataclasses.replace(sampling, grammar=grammar)
    stop_ids = () if request.ignore_eos else text.stop_ids
    tool_use = None
    if tools and text.tool_parser is not None:
        tool_use = ToolUse(
            text.tool_parser,
            tools,
            one_call=request.parallel_tool_calls is False,
            json_calls=constrained,
            calls_instead=constrained and has_form(request),
            in_pieces=bool(request.stream) and text.tool_style == "json_tools",
        )
    stops = tuple(request.stop or ())
    n = request.n or 1
    call_id = request_id()
    keep = bool(request.logprobs)
    return PreparedChat(
        text,
        context.model_name,
        f"fp_{info.fingerprint[:10] if info else 'unknown'}",
        [
            GenerateCall(
                call_id, prompt_ids, max_tokens, stop_ids, for_choice(sampling, i), client()
            )
            for i in range(n)
        ],
        [
            Choice(
                i,
                text.chat_reader(stops, in_reasoning=rendered.in_reasoning, tool_use=tool_use),
                keep_tokens=keep,
            )
            for i in range(n)
        ],
        (request.top_logprobs or 0) if request.logprobs else None,
    )


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    if request.tool_choice is not None and request.tool_choice.type == "none":
        return []
    return [tool.model_dump(exclude_none=True) for tool in request.tools or ()]


def _thinking(text: TextModel, request: ChatRequest, rendered: RenderedChat) -> Thinking:
    """Whether reasoning may stand before the answer, as far as request and prompt say."""
    if rendered.in_reasoning:
        return Thinking.BEGUN
    switched = _options(request).get("enable_thinking")
    marks = text.marks
    closed = bool(marks.think_end) and rendered.text.rstrip().endswith(marks.think_end)
    return (
        Thinking.OVER
        if closed or not marks.think_start or switched is False
        else Thinking.MAY_BEGIN
    )


def _options(request: ChatRequest) -> dict[str, Any]:
    """What the template is told besides messages and tools."""
    options = dict(request.chat_template_kwargs or {})
    if request.reasoning_effort is not None:
        options.setdefault("enable_thinking", request.reasoning_effort not in NO_THINKING)
        options.setdefault("reasoning_effort", request.reasoning_effort)
    return options


def _render(text: TextModel, request: ChatRequest, tools: list[dict[str, Any]]) -> RenderedChat:
    if not text.has_chat_template:
        raise bad_request(
            "This model has no chat template: use /v1/completions.", "messages", "no_chat_template"
        )
    options = _options(request)
    reserved = RESERVED_OPTIONS.intersection(options)
    if reserved:
        name = min(reserved)
        raise bad_request(
            f"'{name}' is no option of a chat template.",
            f"chat_template_kwargs.{name}",
            "invalid_value",
        )
    messages = [message.model_dump(exclude_none=True) for message in request.messages]
    try:
        return text.render(messages, tools, options)
    except TemplateRefusal as error:
        raise bad_request(
            f"The model's chat template refuses these messages: {error}.",
            "messages",
            "template_refusal",
        ) from error
