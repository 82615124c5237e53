"""Whole models on the kernels: near MLX's own, exact among themselves, and quiet elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model

from daemon.execution import kernels
from daemon.execution.executor import StageExecutor
from daemon.execution.loading import load_stage
from daemon.messages import OpenSequence, Row, SamplingParams, Step, TokenOut
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VARIANTS = ["dense", "moe", "sliding", "hybrid", "8bit", "4bit"]
RANGES = [(0, 3), (3, 8)]
PROMPT = staged.random_prompt(45, 512, seed=3)
LOGPROBS = SamplingParams(logprobs=True, top_logprobs=5)


def _model(folder: Path, *, ours: bool) -> Any:
    model, _ = load_model(folder)
    if ours:
        assert kernels.install(model)
    return model


def _executors(folder: Path, **options: Any) -> list[StageExecutor]:
    made: list[StageExecutor] = []
    for lo, hi in RANGES:
        stage = load_stage(folder, lo, hi)
        assert kernels.install(stage.model)
        made.append(StageExecutor(stage, **options))
    return made


def _logits(model: Any) -> np.ndarray:
    out = model(mx.array([PROMPT]), cache=make_prompt_cache(model))
    return np.array(out.astype(mx.float32))


@pytest.mark.parametrize("name", ["dense", "moe", "sliding", "hybrid"])
def test_float32_logits_are_near_mlx_s(model_folder: Callable[[str], Path], name: str) -> None:
    """Same weights, same model, another order of sums."""
    own, mine = (_logits(_model(model_folder(name), ours=ours)) for ours in (False, True))
    assert np.abs(own - mine).max() <= 2e-4 * np.abs(own).max()


@pytest.mark.parametrize("name", ["8bit", "4bit"])
def test_bfloat16_logits_are_nearer_the_truth_than_mlx_s(
    model_folder: Callable[[str], Path], name: str
) -> None:
    """Random weights magnify each rounding; MLX sums in bfloat16, and we in float32."""
    exact = _model(model_folder(name), ours=False)
    exact.set_dtype(mx.float32)
    truth = _logits(exact)
    own, mine = (
        np.abs(_logits(_model(model_folder(name), ours=ours)) - truth).mean()
        for ours in (False, True)
    )
    assert mine <= own


@pytest.mark.parametrize("name", VARIANTS)
def test_stages_equal_mlx_lm_on_the_same_kernels(
    model_folder: Callable[[str], Path], name: str
) -> None:
    """mlx-lm's own loop over the whole model is still the reference."""
    folder = model_folder(name)
    tokens = [out.token for out in staged.generate(_executors(folder), PROMPT, 12)]
    assert tokens == staged.reference(folder, PROMPT, 12, prepare=kernels.install)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recovered_answer_goes_on_bit_for_bit(
    model_folder: Callable[[str], Path], name: str
) -> None:
    """Tokens that were decoded one by one are run again as a prompt, in whatever chunks."""
    folder = model_folder(name)
    whole = staged.generate(_executors(folder), PROMPT, 14, LOGPROBS)
    for known, chunk in ((1, 16), (9, 64), (10, 7)):
        before = [out.token for out in whole[:known]]
        again = staged.generate(
            _executors(folder), PROMPT, 14 - known, LOGPROBS, chunk=chunk, before=before
        )
        if name == "sliding":
            # A rotating cache keeps positions in an order of its own, with MLX's kernels as well.
            assert _tokens(again) == _tokens(whole[known:])
        else:
            assert again == whole[known:], (known, chunk)


def _tokens(outs: list[TokenOut]) -> list[int]:
    return [out.token for out in outs]


@pytest.mark.parametrize("name", ["dense", "8bit", "4bit", "moe"])
def test_sequences_together_give_what_each_gives_alone(
    model_folder: Callable[[str], Path], name: str
) -> None:
    """Batches of any size, of prompts of any length."""
    folder = model_folder(name)
    prompts = {i: staged.random_prompt(3 + 7 * i, 512, seed=i) for i in range(7)}
    alone = {
        i: staged.generate(_executors(folder), prompt, 6, LOGPROBS) for i, prompt in prompts.items()
    }
    executors = _executors(folder, batching=True)
    together: dict[int, list[Any]] = {i: [] for i in prompts}
    opened = tuple(OpenSequence(i, LOGPROBS, len(prompt)) for i, prompt in prompts.items())
    rows = tuple(Row(i, tuple(prompt), sample=True) for i, prompt in prompts.items())
    step = Step(1, 0, opened, (), rows)
    for number in range(6):
        for out in staged.run_step(executors, step):
            together[out.sequence_id].append(out)
        rows = tuple(Row(i, (outs[-1].token,), sample=True) for i, outs in together.items())
        step = Step(1, number + 1, rows=rows)
    for i, outs in alone.items():
        assert [(o.token, o.logprob) for o in together[i]] == [(o.token, o.logprob) for o in outs]


def test_modules_stay_what_they_are(model_folder: Callable[[str], Path]) -> None:
    """Names, parameters and classes: who looks at the model sees no difference."""
    plain, mine = (_model(model_folder("8bit"), ours=ours) for ours in (False, True))
    assert str(plain) == str(mine)
    assert isinstance(mine.layers[0].mlp.gate_proj, nn.QuantizedLinear)
    assert type(mine.layers[0].self_attn).__module__ == type(plain.layers[0].self_attn).__module__


def test_stages_get_as_many_kernels_as_the_whole_model(
    model_folder: Callable[[str], Path],
) -> None:
    """Stages load mlx-lm outside `sys.modules`; attention must be found there too."""
    folder = model_folder("8bit")
    model, _ = load_model(folder)
    in_stages = [kernels.install(load_stage(folder, lo, hi).model) for lo, hi in RANGES]
    # The tied embedding is on both; its lookup on the first has an `as_linear` as well.
    assert sum(in_stages) in {kernels.install(model), kernels.install(load_model(folder)[0]) + 1}


def test_inside_a_traced_function_mlx_s_own_runs() -> None:
    """There, nothing has a value that a kernel could read."""
    layer = nn.Linear(64, 64)
    x = mx.random.normal((3, 64))
    own = layer(x)
    assert kernels.install(layer)
    assert mx.allclose(mx.compile(lambda a: layer(a))(x), own, atol=1e-5).item()  # noqa: PLW0108
    assert mx.allclose(layer(x), own, atol=1e-5).item()


def test_weights_that_lie_turned_are_straightened() -> None:
    """Models of GPT-2's form turn what they load; kernels read rows one after another."""
    layer, x = nn.Linear(128, 64, bias=False), mx.random.normal((3, 128))
    layer.weight = mx.random.normal((128, 64)).T
    mx.eval(layer.weight)
    own = layer(x)
    assert kernels.install(layer)
    assert mx.allclose(layer(x), own, atol=1e-4).item()


def test_off_linux_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS there may be no llvmlite, and MLX's own kernels are fast."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not kernels.usable()
    assert kernels.install(nn.Linear(64, 64)) == 0


def test_without_llvmlite_the_model_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken or partial installation is slow, not dead."""
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda _name: None)
    assert kernels.install(nn.Linear(64, 64)) == 0
