"""Whatever a model prefers, its answer keeps to the grammar, on any ranks and through losses."""

from __future__ import annotations

import json
import random
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from tokenizers import Tokenizer

from daemon.execution.executor import StageExecutor
from daemon.execution.grammar import Constraint, GrammarFailed, Grammars
from daemon.execution.loading import load_stage
from daemon.execution.sampling import Sampler
from daemon.messages import OpenSequence, Row, SamplingParams, Step
from daemon.text.grammar import Thinking, json_form, lark_form, regex_form, write_grammar
from daemon.text.sections import Marks
from tests.support import staged
from tests.support.json_schema import faults
from tests.support.schemas import POINT, SCHEMAS
from tests.support.servable_model import write_servable_model

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.text.grammar import Form

PROMPT = staged.random_prompt(20, 200)
SEEDS = 4
LONGEST = 200
"""Tokens; one per byte, and no schema of the corpus needs more."""


def grammar_of(form: Form) -> str:
    """The grammar of an answer without reasoning and calls."""
    return write_grammar(Marks(), {}, Thinking.OVER, form, None)


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """Of a token that is there."""
    found = tokenizer.token_to_id(token)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a tokenizer; its vocabulary is larger than the tokenizer's."""
    return write_servable_model(tmp_path_factory.mktemp("model"), layers=2)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    """To read answers with."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def stop_id(tokenizer: Tokenizer) -> int:
    """The end of a turn."""
    return id_of(tokenizer, "<|im_end|>")


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[StageExecutor]:
    """Two stages; the last one knows grammars, as in a worker."""
    grammars = Grammars(folder / "tokenizer.json")
    return [StageExecutor(load_stage(folder, lo, lo + 1), grammars) for lo in (0, 1)]


def answer_of(
    ranks: list[StageExecutor], stop_id: int, before: list[int] | None = None, **sampling: Any
) -> list[int]:
    """Tokens up to the stop token; ``before`` are those generated before a loss."""
    answer = list(before or ())
    opened = OpenSequence(
        1, SamplingParams(**sampling), len(PROMPT), len(answer), stop_ids=(stop_id,)
    )
    row = Row(1, (*PROMPT, *answer), sample=True)
    step = Step(1, 0, opened=(opened,), closed=(1,), rows=(row,))
    while len(answer) < LONGEST:
        [out] = staged.run_step(ranks, step)
        assert not out.error, out.error
        if out.token == stop_id:
            return answer
        answer.append(out.token)
        step = Step(1, len(answer), rows=(Row(1, (out.token,), sample=True),))
    raise AssertionError(f"no end after {LONGEST} tokens")


@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_validate(
    name: str, ranks: list[StageExecutor], stop_id: int, tokenizer: Tokenizer
) -> None:
    """Random weights at temperature 1 find every hole that a grammar leaves open."""
    schema = SCHEMAS[name]
    grammar = grammar_of(json_form(schema))
    for seed in range(SEEDS):
        tokens = answer_of(ranks, stop_id, temperature=1.0, seed=seed, grammar=grammar)
        text = tokenizer.decode(tokens, skip_special_tokens=False)
        assert faults(json.loads(text), schema) == []
        assert "  " not in text


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.0},
        {"temperature": 1.0, "top_k": 1},
        {"temperature": 1.5, "top_p": 0.2, "min_p": 0.2},
        {"temperature": 1.0, "logit_bias": ((5, 100.0),), "frequency_penalty": 2.0},
        {"temperature": 0.0, "repetition_penalty": 5.0, "presence_penalty": -2.0},
    ],
    ids=str,
)
def test_other_parameters_choose_among_what_is_allowed(
    sampling: dict[str, Any], ranks: list[StageExecutor], stop_id: int, tokenizer: Tokenizer
) -> None:
    """Truncation must not leave forbidden tokens only, nor a bias let one in."""
    grammar = grammar_of(json_form(POINT))
    text = tokenizer.decode(answer_of(ranks, stop_id, grammar=grammar, seed=1, **sampling))
    assert faults(json.loads(text), POINT) == []


@pytest.mark.parametrize(
    ("form", "allowed"),
    [
        (regex_form("(ab|c/d){2}"), {"abab", "abc/d", "c/dab", "c/dc/d"}),
        (lark_form('start: "x" | LETTER "!"\nLETTER: /[pq]/'), {"x", "p!", "q!"}),
    ],
    ids=["regex", "lark"],
)
def test_other_grammars(
    form: Form, allowed: set[str], ranks: list[StageExecutor], stop_id: int, tokenizer: Tokenizer
) -> None:
    """The extensions."""
    for seed in range(SEEDS):
        tokens = answer_of(ranks, stop_id, temperature=1.0, seed=seed, grammar=grammar_of(form))
        assert tokenizer.decode(tokens) in allowed


def test_a_recovery_changes_nothing(ranks: list[StageExecutor], stop_id: int) -> None:
    """The grammar's state is read off the tokens that come as rows after the prompt."""
    params: dict[str, Any] = {
        "temperature": 1.0,
        "seed": 5,
        "grammar": grammar_of(json_form(SCHEMAS["array"])),
    }
    whole = answer_of(ranks, stop_id, **params)
    for cut in (1, len(whole) // 2, len(whole)):
        assert answer_of(ranks, stop_id, before=whole[:cut], **params) == whole


def test_logprobs_are_the_models(folder: Path, stop_id: int) -> None:
    """A forbidden token may be the likeliest: its probability is shown all the same."""
    constraint = Grammars(folder / "tokenizer.json").open('start: "0"', (stop_id,))
    params = SamplingParams(logprobs=True, top_logprobs=1, grammar="yes")
    sampler = Sampler(OpenSequence(1, params, 2, stop_ids=(stop_id,)), constraint)
    logits = mx.zeros((1, 512)).at[0, 7].add(9.0)
    out = sampler.finish(sampler.pick(logits, [0, 1]))
    assert out.token != 7
    assert out.top[0][0] == 7
    assert out.logprob == pytest.approx(-np.log(511 + np.exp(9)), rel=1e-4)


def test_the_end_is_allowed_only_where_the_answer_is_complete(folder: Path, stop_id: int) -> None:
    """Any of the stop ids, also such as the tokenizer does not have; nothing else after it."""
    constraint = Grammars(folder / "tokenizer.json").open("start: /a{1,2}/", (stop_id, 500))
    letter = id_of(Tokenizer.from_file(str(folder / "tokenizer.json")), "a")
    answers = [[letter] * count for count in range(3)]
    allowed = [set(np.flatnonzero(constraint.allowed(a, 512)).tolist()) for a in answers]
    assert allowed == [{letter}, {letter, stop_id, 500}, {stop_id, 500}]


@pytest.mark.parametrize(
    ("grammar", "file", "why"),
    [
        ("start: nothing", "tokenizer.json", "unknown name"),
        ('start: "a"', "config.json", "does not spell its tokens"),
        ('start: "a"', "missing.json", "does not spell its tokens"),
    ],
)
def test_a_grammar_that_fails_ends_its_sequence_only(
    grammar: str, file: str, why: str, folder: Path, ranks: list[StageExecutor], stop_id: int
) -> None:
    """What the API process should have refused must not cost the other sequences of a step."""
    last = StageExecutor(load_stage(folder, 1, 2), Grammars(folder / file))
    opened = tuple(
        OpenSequence(i, SamplingParams(grammar=text), 1, stop_ids=(stop_id,))
        for i, text in ((1, grammar), (2, ""))
    )
    rows = tuple(Row(i, (PROMPT[0],), sample=True) for i in (1, 2))
    bad, good = staged.run_step([ranks[0], last], Step(1, 0, opened=opened, rows=rows))
    assert why in bad.error
    assert not good.error
    staged.run_step([ranks[0], last], Step(1, 1, closed=(1, 2)))


def test_an_answer_outside_its_grammar_is_reported(folder: Path) -> None:
    """A caller can claim to have been given anything."""
    constraint = Grammars(folder / "tokenizer.json").open('start: "a"', ())
    with pytest.raises(GrammarFailed, match="left its grammar"):
        constraint.allowed([random.Random(0).randrange(200)] * 3, 512)


def test_a_grammar_in_the_making_holds_nobody_up(stop_id: int) -> None:
    """The sequence is sent back; it will find its grammar when it comes again."""
    making: Future[Any] = Future()
    opened = OpenSequence(1, SamplingParams(grammar="yes"), 2, stop_ids=(stop_id,))
    sampler = Sampler(opened, Constraint(making, (stop_id,)))
    out = sampler.finish(sampler.pick(mx.zeros((1, 512)), [0, 1]))
    assert (out.later, out.error) == (True, "")


def test_no_stop_id_and_nothing_left_is_reported(folder: Path) -> None:
    """Without a way to end, a complete answer can't go on."""
    constraint = Grammars(folder / "tokenizer.json").open('start: ""', ())
    with pytest.raises(GrammarFailed, match="allows no token"):
        constraint.allowed([], 512)
