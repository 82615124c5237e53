"""Experts give bit for bit what a linear layer of each gives, whoever is sent to them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx_lm.models.switch_layers import (
    QuantizedSwitchLinear,
    SwiGLU,
    SwitchGLU,
    SwitchLinear,
    SwitchMLP,
)

from daemon.execution.cpu import experts, linear
from daemon.execution.cpu.experts import ExpertsKernel, GatedExperts
from daemon.execution.cpu.install import install_all
from daemon.execution.cpu.runtime import Runtime

if TYPE_CHECKING:
    from daemon.execution.cpu.machine import Machine

EXPERTS, OUTPUTS, DEPTH = 7, 96, 256
QUANTIZED = [(8, 64, mx.bfloat16), (4, 32, mx.bfloat16), (4, 128, mx.float32), (6, 64, mx.float16)]
DTYPES = [mx.float32, mx.bfloat16, mx.float16]


@pytest.fixture(scope="module")
def runtime(every_way: Machine) -> Runtime:
    """Two threads."""
    return Runtime(threads=2, code=every_way)


def _normal(*shape: int, seed: int, dtype: mx.Dtype) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(seed)).astype(dtype)


def _indices(rows: int, count: int, seed: int = 1) -> mx.array:
    """``count`` different experts for each row."""
    chance = np.random.default_rng(seed)
    return mx.array(np.stack([chance.permutation(EXPERTS)[:count] for _ in range(rows)]))


def _assert_each_is_its_experts(kernel: ExpertsKernel, alone: list[Any], dtype: mx.Dtype) -> None:
    """For few and many rows; ``alone``: the linear kernel of each expert."""
    for rows in (1, 2, 5, 40, 250):
        x, chosen = _normal(rows, 1, 1, DEPTH, seed=rows, dtype=dtype), _indices(rows, 3)
        assert kernel.accepts(x, chosen)
        found = kernel(x, chosen)
        assert (found.shape, found.dtype) == ((rows, 3, 1, OUTPUTS), dtype)
        rows_of = np.array(chosen)
        for expert in range(EXPERTS):
            for row, place in np.argwhere(rows_of == expert)[:9].tolist():
                own = alone[expert](x[row, 0])
                assert mx.array_equal(found[row, place], own).item(), (rows, expert)


@pytest.mark.parametrize(("bits", "group", "dtype"), QUANTIZED)
def test_packed_experts(runtime: Runtime, bits: int, group: int, dtype: mx.Dtype) -> None:
    """The slices of the stacked arrays are what linear kernels get."""
    stacked = mx.quantize(_normal(EXPERTS, OUTPUTS, DEPTH, seed=0, dtype=dtype), group, bits)
    kernel = experts.quantized(runtime, experts.Scratch(), list(stacked), bits, group)
    assert kernel is not None
    alone = [
        linear.quantized(runtime, [mx.contiguous(a[e]) for a in stacked], bits, group)
        for e in range(EXPERTS)
    ]
    _assert_each_is_its_experts(kernel, alone, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_experts(runtime: Runtime, dtype: mx.Dtype) -> None:
    """Unquantised ones, in all three formats."""
    stacked = _normal(EXPERTS, OUTPUTS, DEPTH, seed=0, dtype=dtype)
    kernel = experts.plain(runtime, experts.Scratch(), stacked)
    assert kernel is not None
    alone = [linear.plain(runtime, mx.contiguous(stacked[e])) for e in range(EXPERTS)]
    _assert_each_is_its_experts(kernel, alone, dtype)


def _layer(dtype: mx.Dtype, *, bits: int = 0, bias: bool = False) -> Any:
    mx.random.seed(2)
    layer = SwitchLinear(DEPTH, OUTPUTS, EXPERTS, bias=bias)
    if bias:
        layer.bias = _normal(EXPERTS, OUTPUTS, seed=4, dtype=dtype)
    layer.set_dtype(dtype)
    return layer.to_quantized(64, bits) if bits else layer


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bits", [0, 8])
def test_a_layer_gives_what_mlx_gives(runtime: Runtime, bits: int, bias: bool) -> None:
    """Rows for all indices of a token, rows of their own, and rows that are sorted already."""
    own, ours = (_layer(mx.float32, bits=bits, bias=bias) for _ in range(2))
    assert install_all(ours, runtime) == 1
    chosen = _indices(6, 2).reshape(2, 3, 2)
    flat = mx.sort(chosen.flatten())
    for x, indices, named in (
        (_normal(2, 3, 1, 1, DEPTH, seed=5, dtype=mx.float32), chosen, {}),
        (_normal(2, 3, 2, 1, DEPTH, seed=6, dtype=mx.float32), chosen, {}),
        (_normal(12, 1, DEPTH, seed=7, dtype=mx.float32), flat, {"sorted_indices": True}),
    ):
        assert mx.array_equal(ours(x, indices, **named), ours(x, indices, *named.values())).item()
        expected, found = own(x, indices, **named), ours(x, indices, **named)
        assert found.shape == expected.shape
        assert mx.allclose(found, expected, rtol=1e-4, atol=1e-4).item()


def _mixture(dtype: mx.Dtype, bits: int, kind: Any = SwitchGLU, **named: Any) -> Any:
    mx.random.seed(3)
    if kind is SwitchGLU:  # whose default is one activation for all models
        named = {"activation": SwiGLU(), **named}
    model = kind(DEPTH, OUTPUTS, EXPERTS, **named)
    model.set_dtype(dtype)
    if bits:
        nn.quantize(model, 32, bits)
    mx.eval(model.parameters())
    return model


@pytest.mark.parametrize(("dtype", "bits"), [(mx.bfloat16, 8), (mx.float32, 4), (mx.bfloat16, 0)])
def test_a_mixture_gives_what_its_layers_give(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, dtype: mx.Dtype, bits: int
) -> None:
    """Bit for bit: all at once, and gate, up, activation and down one by one."""
    at_once, one_by_one = (_mixture(dtype, bits) for _ in range(2))
    install_all(at_once, runtime)
    with monkeypatch.context() as patch:
        patch.setattr(GatedExperts, "covers", lambda *_: False)
        install_all(one_by_one, runtime)
    calls: list[int] = []
    own = GatedExperts.__call__
    monkeypatch.setattr(
        GatedExperts, "__call__", lambda self, x, i: (calls.append(i.size), own(self, x, i))[1]
    )
    for rows in (1, 4, 70):
        x, chosen = _normal(1, rows, DEPTH, seed=rows, dtype=dtype), _indices(rows, 3)[None]
        expected, found = one_by_one(x, chosen), at_once(x, chosen)
        assert found.shape == expected.shape == (1, rows, 3, DEPTH)
        assert mx.array_equal(found, expected).item()
    assert calls == [3, 12, 210]


def test_a_row_never_depends_on_its_neighbours(runtime: Runtime) -> None:
    """A prompt at once gives what single tokens give, in any order of the experts."""
    model = _mixture(mx.bfloat16, 8)
    install_all(model, runtime)
    x, chosen = _normal(60, DEPTH, seed=9, dtype=mx.bfloat16), _indices(60, 3)
    together = model(x, chosen)
    for row in range(60):
        alone = model(x[row : row + 1], chosen[row : row + 1, ::-1])[:, ::-1]
        assert mx.array_equal(together[row], alone[0]).item()


def test_other_activations_run_between_the_kernels(runtime: Runtime) -> None:
    """Only the usual one has a kernel; nothing changes for the others."""
    x, chosen = _normal(3, DEPTH, seed=9, dtype=mx.float32), _indices(3, 2)
    for kind, named in ((SwitchMLP, {}), (SwitchGLU, {"activation": _gelu_gated})):
        own, ours = (_mixture(mx.float32, 0, kind, **named) for _ in range(2))
        assert install_all(ours, runtime) == 2 + (kind is SwitchGLU)
        expected = own(x, chosen)
        assert mx.allclose(ours(x, chosen), expected, rtol=1e-4, atol=1e-5).item()


def _gelu_gated(x: mx.array, gate: mx.array) -> mx.array:
    return nn.gelu(gate) * x


def test_each_model_has_an_activation_of_its_own(runtime: Runtime) -> None:
    """The default is one object of the process: what a model before put there is not for us."""
    shared = SwitchGLU(DEPTH, OUTPUTS, EXPERTS).activation
    before = type(shared)
    for dtype in (mx.bfloat16, mx.float32):
        model = SwitchGLU(DEPTH, OUTPUTS, EXPERTS)
        model.set_dtype(dtype)
        install_all(model, runtime)
        assert model.activation is not shared
    assert type(shared) is before


def test_what_is_not_covered_is_left_to_mlx(runtime: Runtime) -> None:
    """Other modes, other dtypes, several rows beside an index, and traced functions."""
    layer = QuantizedSwitchLinear(
        DEPTH, OUTPUTS, EXPERTS, bias=False, bits=4, mode="mxfp4", group_size=32
    )
    assert install_all(layer, runtime) == 0
    ours, own = (_layer(mx.float32) for _ in range(2))
    install_all(ours, runtime)
    chosen = _indices(4, 1)[:, 0]
    several = _normal(4, 3, DEPTH, seed=1, dtype=mx.float32)
    assert mx.array_equal(ours(several, chosen), own(several, chosen)).item()
    one = several[:, :1]
    traced = mx.compile(lambda x, i: ours(x, i))(one, chosen)  # noqa: PLW0108
    assert mx.allclose(traced, own(one, chosen), atol=1e-5).item()
    none = one[:0]
    assert ours(none, chosen[:0]).shape == (0, 1, OUTPUTS)


def test_weights_that_lie_turned_are_straightened(runtime: Runtime) -> None:
    """Some models stack or turn what they load: kernels read rows one after another."""
    own, ours = (_layer(mx.float32) for _ in range(2))
    ours.weight = mx.contiguous(ours.weight.swapaxes(1, 2)).swapaxes(1, 2)
    mx.eval(ours.weight)
    install_all(ours, runtime)
    x, chosen = _normal(5, 1, 1, DEPTH, seed=1, dtype=mx.float32), _indices(5, 2)
    assert mx.allclose(ours(x, chosen), own(x, chosen), atol=1e-5).item()
