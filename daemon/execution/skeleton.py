"""Opens a model with lazy weights, and finds the list of layers in whatever class mlx-lm made.

Knows nothing of ranks. Engine thread.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from daemon.errors import ModelError
from daemon.execution.light_import import model_imports

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

KV_BITS = 8
"""Of a quantised KV cache."""
KV_GROUPS = (64, 32)
"""Values that share a scale, best first; a head's size must be a multiple."""

EMBEDDINGS = (nn.Embedding, nn.QuantizedEmbedding)


@dataclass(frozen=True)
class OutsideModule:
    """A module with parameters that belongs to no layer, such as the embedding or the head."""

    parent: Any
    """Module, list or dict that holds it."""
    key: Any
    module: nn.Module
    path: str

    @property
    def is_embedding(self) -> bool:
        """Whether it looks up token ids."""
        return isinstance(self.module, EMBEDDINGS)


@dataclass(frozen=True)
class Skeleton:
    """A whole model none of whose weights has been read yet."""

    model: Any
    layers: list[Any]
    """The very list object that the model iterates: replacing an item replaces the layer."""
    layers_path: str
    kv_group: int = 0
    """KV is kept in 8 bits, in groups of that many values; 0: as the model computes it."""

    def make_caches(self) -> list[Any]:
        """Fresh caches of the whole model; their number need not be the number of layers."""
        with model_imports() as mlx_lm:
            caches = list(mlx_lm.cache.make_prompt_cache(self.model))
            if not self.kv_group:
                return caches
            small = mlx_lm.cache.QuantizedKVCache
            return [
                small(self.kv_group, KV_BITS) if type(cache).__name__ == "KVCache" else cache
                for cache in caches
            ]

    def outside_modules(self) -> list[OutsideModule]:
        """The smallest modules with parameters outside the layers."""
        return list(_outside(self.model, "", self.layers_path))


def open_skeleton(folder: Path, kv_bits: int = 0) -> Skeleton:
    """The model of ``folder``, built in full but lazily.

    Args:
        folder: of the model.
        kv_bits: 8 for a quantised KV cache, 0 for the model's own.

    Raises:
        ModelError: unknown architecture, weights that don't match the config, or an architecture
            that can't work on a quantised KV cache.
    """
    with model_imports() as mlx_lm:
        try:
            model, _ = mlx_lm.utils.load_model(folder, lazy=True)
        # Model code of 130 architectures raises whatever it likes on a wrong config.
        except Exception as error:
            raise ModelError(
                f"{folder}: mlx-lm can't build it: {_first_line(error)}{_advice(error)}"
            ) from error
    skeleton = skeleton_of(model)
    return with_small_kv(skeleton) if kv_bits else skeleton


def with_small_kv(skeleton: Skeleton) -> Skeleton:
    """The same model over KV caches of 8 bits.

    Raises:
        ModelError: it has none that can be quantised, or its attention can't read them.
    """
    reason = "it keeps no plain KV cache"
    for group in KV_GROUPS:
        small = replace(skeleton, kv_group=group)
        caches = small.make_caches()
        if not any(type(cache).__name__ == "QuantizedKVCache" for cache in caches):
            break
        try:
            skeleton.model(mx.zeros((1, 2), mx.int32), cache=caches)  # lazy: shapes tell
        # Attention written for arrays raises whatever it likes when it is given packed ones.
        except Exception as error:  # noqa: BLE001
            reason = _first_line(error)
            continue
        return small
    name = type(skeleton.model).__module__.rpartition(".")[2]
    raise ModelError(f"{name} can't keep its KV in {KV_BITS} bits ({reason}): set kv_bits = 0")


def skeleton_of(model: Any) -> Skeleton:
    """Find the layers of a model.

    Raises:
        ModelError: it has none.
    """
    wanted = list(getattr(model, "layers", None) or [])
    found = next(_lists_holding(model, "", wanted[0]), None) if wanted else None
    if found is None:
        raise ModelError(f"{type(model).__module__}: no list of layers to cut")
    layers, path = found
    return Skeleton(model, layers, path)


@contextmanager
def intercepted(
    modules: list[Any], make_call: Callable[[int, type[Any]], Callable[..., Any]]
) -> Generator[None]:
    """A block in which calling ``modules[i]`` calls ``make_call(i, its class)`` instead."""
    classes = [type(module) for module in modules]
    try:
        for index, (module, kind) in enumerate(zip(modules, classes, strict=True)):
            module.__class__ = type(kind.__name__, (kind,), {"__call__": make_call(index, kind)})
        yield
    finally:
        for module, kind in zip(modules, classes, strict=True):
            module.__class__ = kind


def arrays_in(tree: Any) -> list[mx.array]:
    """The arrays of nested tuples, lists and dicts, in order."""
    if isinstance(tree, mx.array):
        return [tree]
    if isinstance(tree, tuple | list):
        return [leaf for item in tree for leaf in arrays_in(item)]
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in arrays_in(item)]
    return []


def parameters(module: Any) -> dict[str, mx.array]:
    """All parameters by dotted name."""
    return dict(cast("list[tuple[str, mx.array]]", tree_flatten(module.parameters())))


def parameter_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters, read or not."""
    return sum(array.nbytes for array in parameters(module).values())


def _lists_holding(module: Any, path: str, wanted: Any) -> Iterator[tuple[list[Any], str]]:
    for key, value in list(module.items()):
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, nn.Module):
            yield from _lists_holding(value, here, wanted)
        elif isinstance(value, list | tuple):
            if isinstance(value, list) and any(item is wanted for item in value):
                yield value, here
            for index, item in enumerate(value):
                if isinstance(item, nn.Module):
                    yield from _lists_holding(item, f"{here}.{index}", wanted)


def _outside(module: Any, path: str, layers_path: str) -> Iterator[OutsideModule]:
    for key, value in list(module.items()):
        here = f"{path}.{key}" if path else str(key)
        if here == layers_path:
            continue
        if isinstance(value, nn.Module):
            yield from _outside_child(module, key, value, here, layers_path)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, nn.Module):
                    inner = f"{here}.{index}"
                    yield from _outside_child(value, index, item, inner, layers_path)


def _outside_child(
    parent: Any, key: Any, child: nn.Module, path: str, layers_path: str
) -> Iterator[OutsideModule]:
    has_children = any(
        isinstance(item, nn.Module) or item for item in child.children().values()
    ) and not isinstance(child, EMBEDDINGS)
    if has_children:
        yield from _outside(child, path, layers_path)
    elif parameters(child):
        yield OutsideModule(parent, key, child, path)


def _advice(error: Exception) -> str:
    """What to do about it, where that can be told."""
    text = str(error)
    if "not supported" in text:
        return ": this mlx-lm does not know the model_type: a newer one may"
    if "shape" in text or "arameters" in text:
        return ": the weights don't match config.json: download the model again"
    return ""


def _first_line(error: Exception) -> str:
    text = str(error).strip() or repr(error)
    return text.splitlines()[0][:300]
