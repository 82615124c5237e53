"""POST /v1/completions.

Owns the way of a completion request; several prompts become choices prompt by prompt.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.api.choice import Choice
from daemon.api.completion_format import CompletionHead, CompletionStream, Echo, WholeCompletion
from daemon.api.engine import GenerateCall
from daemon.api.errors import bad_request, unsupported
from daemon.api.http import client, event_stream, json_response, read_body, request_id
from daemon.api.running import start_generation
from daemon.api.sampling import for_choice, sampling_params, token_budget
from daemon.api.schemas.completion import CompletionRequest
from daemon.api.sse import event_bytes
from daemon.api.usage import usage_body

if TYPE_CHECKING:
    from quart import Quart, Response

    from daemon.api.context import ApiContext
    from daemon.api.generation import Generation
    from daemon.api.schemas.completion import Prompt
    from daemon.messages import SamplingParams
    from daemon.text.model import TextModel

DEFAULT_MAX_TOKENS = 16
MAX_CHOICES = 128


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoint."""

    @app.post("/v1/completions")
    async def create_completion() -> Response:
        request = await read_body(CompletionRequest)
        _check(request)
        context.check_model(request.model)
        prepared = await _prepare(context, request)
        generation = await start_generation(
            context, prepared.calls, prepared.choices, prepared.prompt_tokens
        )
        if request.stream:
            return await _stream(request, prepared, generation)
        return await _whole(request, prepared, generation)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request, ready to run."""

    text: TextModel
    head: CompletionHead
    calls: list[GenerateCall]
    choices: list[Choice]
    echoes: list[Echo]
    prompt_tokens: int
    """Every prompt counted once."""


def _check(request: CompletionRequest) -> None:
    if request.suffix:
        raise unsupported("suffix", "A suffix")
    if request.best_of is not None and request.best_of != (request.n or 1):
        raise unsupported("best_of", "'best_of' other than 'n'")
    if request.max_tokens == 0 and not request.echo:
        raise bad_request(
            "Invalid 'max_tokens': 0 is only allowed together with 'echo'.",
            "max_tokens",
            "integer_below_min_value",
        )
    if request.stream_options is not None and not request.stream:
        raise bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    if len(request.prompt) * (request.n or 1) > MAX_CHOICES:
        raise bad_request(
            f"Prompts times 'n' must not be over {MAX_CHOICES}.", "n", "integer_above_max_value"
        )


async def _prepare(context: ApiContext, request: CompletionRequest) -> _Prepared:
    text = await context.text()
    info = await context.info()
    vocab_size = info.vocab_size if info else 0
    prompts = [await _prompt_ids(context, text, prompt, vocab_size) for prompt in request.prompt]
    sampling = sampling_params(
        request,
        vocab_size,
        logprobs=request.logprobs is not None,
        top_logprobs=request.logprobs or 0,
    )
    context_tokens = await context.max_context()
    asked = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    for ids in prompts:
        token_budget(len(ids), asked, context_tokens, asked, "prompt")
    n = request.n or 1
    scored = bool(request.echo) and request.logprobs is not None
    sampling = dataclasses.replace(sampling, prompt_logprobs=scored)
    calls = [
        # To score a prompt takes a token after it; nobody is shown that one.
        _call(request, text, ids, max(asked, 1), for_choice(sampling, place * n + i))
        for place, ids in enumerate(prompts)
        for i in range(n)
        if asked or scored
    ]
    echoes = [_echo(request, text, ids, scored=scored) for ids in prompts for _ in range(n)]
    fingerprint = f"fp_{info.fingerprint[:10] if info else 'unknown'}"
    return _Prepared(
        text,
        CompletionHead.new(context.model_name, fingerprint),
        calls,
        [_choice(request, text, i, scored=scored) for i in range(len(calls))],
        echoes,
        sum(map(len, prompts)),
    )


def _echo(
    request: CompletionRequest, text: TextModel, ids: tuple[int, ...], *, scored: bool
) -> Echo:
    if not request.echo:
        return Echo()
    return Echo(text.decode(ids), ids if scored else ())


def _choice(request: CompletionRequest, text: TextModel, index: int, *, scored: bool) -> Choice:
    return Choice(
        index,
        text.plain_reader(tuple(request.stop or ())),
        keep_tokens=request.logprobs is not None,
        scored=scored,
        prompt_only=request.max_tokens == 0,
    )


def _call(
    request: CompletionRequest,
    text: TextModel,
    prompt_ids: tuple[int, ...],
    max_tokens: int,
    sampling: SamplingParams,
) -> GenerateCall:
    stop_ids = () if request.ignore_eos else text.stop_ids
    return GenerateCall(request_id(), prompt_ids, max_tokens, stop_ids, sampling, client())


async def _prompt_ids(
    context: ApiContext, text: TextModel, prompt: Prompt, vocab_size: int
) -> tuple[int, ...]:
    """Ids of one prompt; an empty text stands for the beginning of a document."""
    if isinstance(prompt, str):
        ids = await context.encode(prompt, special=True)
        return ids or text.stop_ids[:1]
    unknown = next((token for token in prompt if vocab_size and token >= vocab_size), None)
    if unknown is not None:
        raise bad_request(
            f"Invalid token id in 'prompt': {unknown}. The model has {vocab_size} tokens.",
            "prompt",
            "invalid_value",
        )
    return tuple(prompt)


async def _whole(
    request: CompletionRequest, prepared: _Prepared, generation: Generation
) -> Response:
    whole = [WholeCompletion(i, echo) for i, echo in enumerate(prepared.echoes)]
    async for updates in generation.updates():
        for update in updates:
            whole[update.index].add(update)
    body = prepared.head.fields()
    body["choices"] = [choice.body(prepared.text, request.logprobs) for choice in whole]
    body["usage"] = usage_body(generation.usage())
    return json_response(body)


async def _stream(
    request: CompletionRequest, prepared: _Prepared, generation: Generation
) -> Response:
    with_usage = bool(request.stream_options and request.stream_options.include_usage)
    writer = CompletionStream(
        prepared.head,
        prepared.text,
        prepared.echoes,
        top_logprobs=request.logprobs,
        usage=generation.usage if with_usage else None,
    )
    if prepared.calls:
        await generation.accepted()
    return event_stream(event_bytes(generation, writer))
