"""A rank that calls itself ready has all its kernels: no client waits for a compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.execution.cpu import runtime
from daemon.execution.cpu.machine import Machine
from daemon.execution.loading import load_stage
from daemon.execution.skeleton import intercepted
from daemon.messages import OpenSequence, Row, SamplingParams, Step
from daemon.shard import LoadedShard
from tests.support import staged
from tests.support.told import LoadingOnly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROMPTS = (tuple(staged.random_prompt(9, 512)), tuple(staged.random_prompt(4, 512)))
LAYERS = (0, 8)


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Callable[[str], Path]
) -> Callable[[str], tuple[LoadedShard, Machine, list[str]]]:
    """Loads a model like a new process would, with kernels on disk only in ``tmp_path``."""

    def load(name: str) -> tuple[LoadedShard, Machine, list[str]]:
        code, states = Machine(tmp_path), LoadingOnly()
        monkeypatch.setattr(runtime, "machine", lambda: code)
        shard = LoadedShard(model_folder(name), states)
        shard.assign(*LAYERS)
        return shard, code, states.texts

    return load


def _serve(shard: LoadedShard) -> None:
    """Prompts, single tokens, and sequences of unlike lengths together."""
    opened = [OpenSequence(i, SamplingParams(), len(p)) for i, p in enumerate(PROMPTS)]
    for opening, prompt in zip(opened, PROMPTS, strict=True):
        row = Row(opening.sequence_id, prompt, sample=True)
        shard.run(Step(1, opening.sequence_id, (opening,), (), (row,)), None)
    shard.run(Step(1, 2, rows=(Row(0, (5,), sample=True),)), None)
    together = tuple(Row(i, (6,), sample=True) for i in range(len(PROMPTS)))
    shard.run(Step(1, 3, rows=together), None)


@pytest.mark.parametrize("name", ["8bit", "sliding"])
def test_steps_compile_nothing_once_layers_are_there(
    start: Callable[[str], tuple[LoadedShard, Machine, list[str]]], name: str
) -> None:
    """Whatever the mask, and whoever is first to ask; and the next start compiles nothing."""
    shard, code, said = start(name)
    assert code.compiled > 0
    assert said == ["layers 0 to 7", "compiling CPU kernels, once on this machine"]
    after_loading = code.compiled
    _serve(shard)
    assert code.compiled == after_loading
    again, code, said = start(name)
    _serve(again)
    assert code.compiled == 0
    assert said == ["layers 0 to 7"]


@pytest.mark.parametrize(
    ("name", "lo", "hi", "layers"),
    [("dense", 0, 8, [0, 7]), ("8bit", 2, 5, [2, 4]), ("hybrid", 0, 8, [0, 3, 7])],
)
def test_layers_like_one_before_are_passed_over(
    model_folder: Callable[[str], Path], name: str, lo: int, hi: int, layers: list[int]
) -> None:
    """A large rank that comes back is waited for; one layer of a kind builds all that it needs."""
    stage = load_stage(model_folder(name), lo, hi)
    ran: list[int] = []

    def make_call(index: int, kind: type[Any]) -> Callable[..., Any]:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            ran.append(lo + index)
            return kind.__call__(layer, *args, **kwargs)

        return call

    with intercepted(stage.skeleton.layers[lo:hi], make_call):
        stage.warm_up()
    assert ran == layers
