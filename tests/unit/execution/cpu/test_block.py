"""A block in two runs of machine code gives, bit for bit, what its modules give one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import pytest
from mlx import nn
from mlx_lm.models import llama, qwen3, qwen3_moe
from mlx_lm.models.cache import BatchKVCache, KVCache, QuantizedKVCache

from daemon.execution.cpu import block
from daemon.execution.cpu.install import install_all
from daemon.execution.cpu.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.cpu.machine import Machine

LAYERS = 2
SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": LAYERS,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "vocab_size": 200,
    "max_position_embeddings": 512,
    "rope_theta": 1e4,
    "head_dim": 32,
}
MIXTURE: dict[str, Any] = {
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "decoder_sparse_step": 2,
    "mlp_only_layers": [],
    "moe_intermediate_size": 64,
    "tie_word_embeddings": False,
    "norm_topk_prob": True,
}
"""A block with an MLP and one with a mixture."""
STEPS = [[[5, 6, 7, 8, 9]], [[4]], [[3]], [[1] * 20], [[7]]]


@pytest.fixture(scope="module")
def runtime(code: Machine) -> Runtime:
    """Two threads."""
    return Runtime(threads=2, code=code)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of sequences of each call of a fused block."""
    calls: list[int] = []
    own = block.FusedBlock.__call__

    def call(self: block.FusedBlock, x: mx.array, *rest: Any, **named: Any) -> mx.array:
        calls.append(x.shape[0])
        return own(self, x, *rest, **named)

    monkeypatch.setattr(block.FusedBlock, "__call__", call)
    return calls


def _model(dtype: mx.Dtype, *, packed: bool, kind: str = "qwen3") -> nn.Module:
    mx.random.seed(3)
    if kind == "qwen3":
        tied: dict[str, Any] = {"tie_word_embeddings": True}
        model = qwen3.Model(qwen3.ModelArgs(model_type=kind, **SIZES, **tied))
    elif kind == "qwen3_moe":
        model = qwen3_moe.Model(qwen3_moe.ModelArgs(model_type=kind, **SIZES, **MIXTURE))
    else:
        model = llama.Model(llama.ModelArgs(model_type=kind, **SIZES))
    model.set_dtype(dtype)
    if packed:
        nn.quantize(model, 64, 8)
    mx.eval(model.parameters())
    return model


def _run(model: Any, make: Callable[[], Any] = KVCache, steps: list[Any] = STEPS) -> list[mx.array]:
    caches = [make() for _ in range(LAYERS)]
    outputs: list[mx.array] = []
    for ids in steps:
        outputs.append(model(mx.array(ids), cache=caches))
        mx.eval(outputs[-1])
    return outputs


def _both(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, **kind: Any) -> list[nn.Module]:
    """The same model with fused blocks, and with kernels for its modules only."""
    with_blocks, without = (_model(**kind) for _ in range(2))
    assert install_all(with_blocks, runtime) > LAYERS
    with monkeypatch.context() as patch:
        patch.setattr(block, "FORMS", {})
        install_all(without, runtime)
    return [with_blocks, without]


def _assert_same(ours: list[mx.array], own: list[mx.array]) -> None:
    for one, other in zip(ours, own, strict=True):
        assert mx.array_equal(one, other).item()
        assert mx.all(mx.isfinite(one)).item()


@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen3_moe"])
@pytest.mark.parametrize(
    ("dtype", "packed"), [(mx.bfloat16, True), (mx.bfloat16, False), (mx.float32, True)]
)
def test_it_gives_what_its_modules_give(
    runtime: Runtime,
    fused: list[int],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    dtype: mx.Dtype,
    packed: bool,
) -> None:
    """A prompt, single tokens, and a longer step that continues."""
    ours, own = _both(runtime, monkeypatch, dtype=dtype, packed=packed, kind=kind)
    _assert_same(_run(ours), _run(own))
    assert fused == [1] * LAYERS * len(STEPS)


def test_sequences_of_a_batch(
    runtime: Runtime, fused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has positions and padding of its own."""
    ours, own = _both(runtime, monkeypatch, dtype=mx.bfloat16, packed=True)
    steps: list[Any] = [[[0, 0, 5, 6], [7, 8, 9, 1], [0, 3, 4, 2]], [[4], [5], [6]]]

    def make() -> BatchKVCache:
        return BatchKVCache([2, 0, 1])

    _assert_same(_run(ours, make, steps), _run(own, make, steps))
    assert fused == [3] * LAYERS * len(steps)


def test_what_it_does_not_know_its_modules_run(
    runtime: Runtime, fused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed caches, no cache, and prompts, which lose nothing to Python."""
    ours, own = _both(runtime, monkeypatch, dtype=mx.float32, packed=True)
    assert isinstance(ours, qwen3.Model)

    def packed() -> QuantizedKVCache:
        return QuantizedKVCache(group_size=32)

    _assert_same(_run(ours, packed), _run(own, packed))
    long = [[[1] * 100]]
    _assert_same(_run(ours, steps=long), _run(own, steps=long))
    assert mx.array_equal(ours(mx.array([[1, 2]])), own(mx.array([[1, 2]]))).item()
    assert fused == []
    _assert_same(_run(ours), _run(own))
    assert len(fused) == LAYERS * len(STEPS)


def test_an_error_behind_the_cache_is_no_reason_to_run_again(runtime: Runtime) -> None:
    """The modules would put the same token into the cache once more, and nobody would know."""
    model: Any = _model(mx.bfloat16, packed=True, kind="qwen3_moe")
    install_all(model, runtime)
    caches = [KVCache() for _ in range(LAYERS)]
    mx.eval(model(mx.array([[5, 6]]), cache=caches))

    def fail(*_: Any) -> mx.array:
        raise RuntimeError("out of memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.layers[1].mlp), "__call__", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            model(mx.array([[7]]), cache=caches)
    assert caches[1].offset == 3


def test_biases_are_left_to_the_modules(runtime: Runtime, fused: list[int]) -> None:
    """No kernel adds them, so the block is no usual one."""
    model = llama.Model(llama.ModelArgs(model_type="llama", **SIZES, attention_bias=True))
    mx.eval(model.parameters())
    install_all(model, runtime)
    _run(model)
    assert fused == []
