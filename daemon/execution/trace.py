"""Learns from one lazy forward (nothing is computed) where a model may be cut.

Knows no ranks and reads no weights. Engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from daemon.errors import ModelError
from daemon.execution.skeleton import arrays_in, intercepted

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.skeleton import Skeleton

PROBE_SHAPE = (1, 2)
"""Batch and length of the token ids of probing forwards."""


@dataclass(frozen=True)
class ArraySpec:
    """Stands in for an array in a boundary value."""

    shape: tuple[int, ...]
    dtype: mx.Dtype


@dataclass(frozen=True)
class LayerTrace:
    """How a model's forward uses its layers."""

    n_layers: int
    cache_owner: tuple[int, ...]
    """Per cache the first layer that uses it; -1: used before the layers, or never."""
    outputs: tuple[Any, ...]
    """Per layer what it returns for ids of `PROBE_SHAPE`: a tree of `ArraySpec` and constants."""
    legal_cuts: tuple[int, ...]
    """c: layers before c and from c on may live on different ranks."""
    stackable: bool
    """Whether axis 0 of everything that crosses a cut is the batch."""
    why: tuple[str, ...]
    """What forbids the other cuts."""

    def boundary_like(self, cut: int) -> Any:
        """Zeros shaped like what crosses ``cut`` for ids of `PROBE_SHAPE`."""
        return _materialise(self.outputs[cut - 1])


@dataclass(frozen=True)
class _Call:
    layer: int
    arguments: list[Any]
    output: Any


def trace(skeleton: Skeleton) -> LayerTrace:
    """Run the whole model once, lazily, and watch its layers.

    Raises:
        ModelError: the forward itself fails.
    """
    caches = skeleton.make_caches()
    calls = _record(skeleton, caches)
    n_layers = len(skeleton.layers)
    users = _cache_users(calls, caches)
    order = [call.layer for call in calls]
    why: list[str] = []
    if order != list(range(n_layers)):
        how = f"in the order {_shorten(order)}" if order else "in parts, not as wholes"
        why.append(f"its layers don't run once each in order, but {how}")
        legal: list[int] = []
    else:
        spans = _reaches(calls) | {
            (min(used), max(used)): f"layers {_shorten(sorted(used))} share one cache"
            for used in users.values()
            if len(used) > 1
        }
        # A cut c is inside the span (first, last) if first < c <= last.
        legal = [
            cut
            for cut in range(1, n_layers)
            if not any(first < cut <= last for first, last in spans)
        ]
        why += [text for _, text in sorted(spans.items())]
    outputs: list[Any] = [None] * n_layers
    for call in calls:
        outputs[call.layer] = _spec(call.output)
    pairs = _record(skeleton, skeleton.make_caches(), (2, PROBE_SHAPE[1]))
    stackable = all(
        _is_stacked(one, two)
        for call, pair in zip(calls, pairs, strict=True)
        for one, two in zip(arrays_in(call.output), arrays_in(pair.output), strict=True)
    )
    owner = tuple(min(users.get(index, {-1})) for index in range(len(caches)))
    return LayerTrace(n_layers, owner, tuple(outputs), tuple(legal), stackable, tuple(why))


def _record(
    skeleton: Skeleton, caches: list[Any], shape: tuple[int, int] = PROBE_SHAPE
) -> list[_Call]:
    calls: list[_Call] = []

    def make_call(index: int, kind: type[Any]) -> Callable[..., Any]:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            output = kind.__call__(layer, *args, **kwargs)
            calls.append(_Call(index, [*args, *kwargs.values()], output))
            return output

        return call

    with intercepted(skeleton.layers, make_call):
        try:
            skeleton.model(mx.zeros(shape, mx.int32), cache=caches)
        # Model code raises whatever it likes when the config is inconsistent.
        except Exception as error:
            raise ModelError(
                f"{type(skeleton.model).__module__}: the forward pass fails: {error!r}"
            ) from error
    return calls


def _cache_users(calls: list[_Call], caches: list[Any]) -> dict[int, set[int]]:
    """Cache index -> layers that get it."""
    users: dict[int, set[int]] = {}
    for call in calls:
        for argument in call.arguments:
            for index, cache in enumerate(caches):
                if cache is not None and argument is cache:
                    users.setdefault(index, set()).add(call.layer)
    return users


def _reaches(calls: list[_Call]) -> dict[tuple[int, int], str]:
    """(i + 1, j): layer j gets an array that layer i made and its predecessor didn't pass on."""
    made_by: dict[int, int] = {}
    found: dict[tuple[int, int], str] = {}
    carried: set[int] = set()
    for call in calls:
        for array in arrays_in(call.arguments):
            source = made_by.get(id(array))
            if source is not None and id(array) not in carried:
                text = f"layer {call.layer} uses an output of layer {source}"
                # Right behind the source its output is the boundary value itself.
                found[source + 1, call.layer] = text
        outputs = arrays_in(call.output)
        for array in outputs:
            made_by.setdefault(id(array), call.layer)
        carried = {id(array) for array in outputs}
    return found


def _is_stacked(one: mx.array, two: mx.array) -> bool:
    """Whether a batch of two has twice the rows of a batch of one, and nothing else changed."""
    return tuple(two.shape) == (2 * one.shape[0], *one.shape[1:]) if one.ndim else False


def _spec(tree: Any) -> Any:
    if isinstance(tree, mx.array):
        return ArraySpec(tuple(tree.shape), tree.dtype)
    if isinstance(tree, tuple | list):
        return tuple(_spec(item) for item in tree)
    return tree


def _materialise(spec: Any) -> Any:
    if isinstance(spec, ArraySpec):
        return mx.zeros(spec.shape, spec.dtype)
    if isinstance(spec, tuple):
        return tuple(_materialise(item) for item in spec)
    return spec


def _shorten(numbers: list[int]) -> str:
    text = ", ".join(str(number) for number in numbers[:8])
    return f"{text}, ..." if len(numbers) > 8 else text
