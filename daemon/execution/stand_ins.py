"""What takes the place of modules whose weights live on other ranks.

Attributes of an absent layer still answer (models read layer types and window sizes); weights of
an absent module don't: asking for them raises `AbsentWeights`, which the stage uses while probing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx import nn


class AbsentWeights(Exception):
    """A signal to the stage that probes: the forward needs a module that was taken away."""

    def __init__(self, path: str) -> None:
        """Remember which one."""
        super().__init__(path)
        self.path = path


@dataclass
class Boundary:
    """What a stage receives from the one before, while its forward runs."""

    received: Any = None


class AbsentLayer(nn.Module):
    """A layer of another rank: answers with the received boundary value.

    The model discards all but the last of these answers, as each layer gets its predecessor's.
    """

    def __init__(self, layer: nn.Module, boundary: Boundary) -> None:
        super().__init__()
        # In __dict__, so that the layer's parameters are none of this module's.
        self.__dict__["_layer"] = layer
        self.__dict__["_boundary"] = boundary

    def __getattr__(self, key: str) -> Any:
        if key in self:
            return self[key]
        return getattr(self.__dict__["_layer"], key)

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """The boundary value, whatever the arguments."""
        return self.__dict__["_boundary"].received


class AbsentModule(nn.Module):
    """A module outside the layers that this rank has no use for."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.__dict__["_path"] = path

    def __getattr__(self, key: str) -> Any:
        if key in self:
            return self[key]
        raise AbsentWeights(self.__dict__["_path"])

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Raise: there is nothing to compute with."""
        raise AbsentWeights(self.__dict__["_path"])


class AbsentEmbedding(nn.Module):
    """An embedding of a later rank: constant rows, because only their shape matters there.

    A tied head's matrix stays reachable if ``inner`` is kept.
    """

    def __init__(self, embedding: Any, path: str, *, keep: bool, fill: float = 0.0) -> None:
        super().__init__()
        quantized = isinstance(embedding, nn.QuantizedEmbedding)
        self.__dict__["_path"] = path
        self.__dict__["_width"] = embedding.dims if quantized else embedding.weight.shape[-1]
        self.__dict__["_dtype"] = embedding.scales.dtype if quantized else embedding.weight.dtype
        self.__dict__["_fill"] = fill
        if keep:
            self["inner"] = embedding

    def __getattr__(self, key: str) -> Any:
        if key in self:
            return self[key]
        if "inner" not in self:
            raise AbsentWeights(self.__dict__["_path"])
        return getattr(self["inner"], key)

    def __call__(self, ids: mx.array) -> mx.array:
        """(batch, length) -> (batch, length, width), all the same value."""
        known = self.__dict__
        return mx.full((*ids.shape, known["_width"]), known["_fill"], known["_dtype"])
