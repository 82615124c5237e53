"""One rank's slice of any mlx-lm model, without code per architecture.

The model keeps its skeleton, so its own forward, layer types and cache indices stay valid.
Layers of other ranks become absent, the forward is left after our last layer, and what we don't
use is dropped before it is ever read. Knows no network and no sequences. Engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from daemon.errors import ModelError
from daemon.execution.caches import cache_bytes, cache_kind
from daemon.execution.skeleton import arrays_in, intercepted, parameter_bytes
from daemon.execution.stand_ins import (
    AbsentEmbedding,
    AbsentLayer,
    AbsentModule,
    AbsentWeights,
    Boundary,
)
from daemon.execution.trace import PROBE_SHAPE, LayerTrace, trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.skeleton import OutsideModule, Skeleton


class _Left(Exception):
    """Control flow: the forward is left after our last layer; carries its output."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


@dataclass
class StageCaches:
    """The caches of one sequence (or of one batch) on one stage."""

    owned: list[Any]
    """Caches that our layers fill."""
    shadows: dict[int, Any] = field(default_factory=dict)
    """Empty caches, by index in the whole model, that only tell a position."""
    length: int = 0
    """Tokens run so far; of a batch, those of its longest row."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(cache_bytes(cache) for cache in self.owned)

    def arrays(self) -> list[mx.array]:
        """Everything that must be evaluated after a forward."""
        return arrays_in([cache.state for cache in self.owned])


class Stage:
    """Layers [lo, hi) of a model, plus the embedding on the first and the head on the last."""

    def __init__(
        self, skeleton: Skeleton, lo: int, hi: int, traced: LayerTrace | None = None
    ) -> None:
        """Take the slice out of ``skeleton``, which is used up.

        Raises:
            ModelError: the cut is not legal; the text says why and which are.
        """
        self.skeleton = skeleton
        self.traced = traced or trace(skeleton)
        self.lo, self.hi = lo, hi
        self.n_layers = self.traced.n_layers
        self.is_first, self.is_last = lo == 0, hi == self.n_layers
        self._check_cuts()
        self._boundary = Boundary()
        whole = skeleton.make_caches()
        self._count = len(whole)
        self._owned = [
            index for index, owner in enumerate(self.traced.cache_owner) if self._owns(owner)
        ]
        self._donors = self._choose_donors([cache_kind(cache) for cache in whole])
        self._absent: dict[str, OutsideModule] = {}
        if not (self.is_first and self.is_last):
            self._hollow()
            self._restore_used()
        self._without_logits = False
        in_order = bool(self.traced.legal_cuts) and min(self.traced.cache_owner, default=0) >= 0
        if self.is_last and in_order:
            _leave_after(skeleton.layers[hi - 1], lambda: self._without_logits)

    @property
    def model(self) -> Any:
        """The hollowed model."""
        return self.skeleton.model

    @property
    def architecture(self) -> str:
        """Name of the module of `mlx_lm.models` that the model comes from."""
        return type(self.model).__module__.rpartition(".")[2]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the parameters that this stage keeps, read or not."""
        return parameter_bytes(self.model)

    def make_caches(self) -> StageCaches:
        """Fresh caches for one sequence."""
        whole = self.skeleton.make_caches()
        shadows = {i: whole[i] for i, donor in enumerate(self._donors) if donor is None}
        return StageCaches([whole[i] for i in self._owned], shadows)

    def forward(
        self, ids: mx.array, received: Any, caches: StageCaches, *, logits: bool = True
    ) -> Any:
        """Run our layers; lazy, nothing is evaluated.

        Args:
            ids: token ids, (batch, length), the same on every stage.
            received: the boundary value of the stage before; ignored by the first.
            caches: of these sequences; filled.
            logits: False if nobody will look at them: kernels that do not wait to be asked, such
                as ours for CPUs, are spared the head then.

        Returns:
            The boundary value for the next stage, or on the last the logits
            (batch, length, vocabulary).
        """
        for shadow in caches.shadows.values():
            if hasattr(shadow, "offset"):
                shadow.offset = caches.length
        whole = [
            caches.shadows[index] if donor is None else caches.owned[donor]
            for index, donor in enumerate(self._donors)
        ]
        self._boundary.received = received
        self._without_logits = not logits
        try:
            output = self.model(ids, cache=whole)
        except _Left as left:
            output = left.output
        finally:
            self._boundary.received = None
            self._without_logits = False
        caches.length += ids.shape[1]
        return output

    def warm_up(self) -> None:
        """Run two tokens and forget them: what kernels build at first use is built then.

        The head, and layers that are made like one before, are passed over: they build nothing
        more, and half a 1.7B model takes 1.5 s for them.
        """
        try:
            with intercepted(self._repeated_layers(), lambda *_: _pass_over):
                mx.eval(arrays_in(self._probe(logits=False)))
        except Exception:  # noqa: BLE001 - layers that hand on more than one array, whatever it is
            caches = self.make_caches()
            mx.eval(arrays_in(self._probe(caches)), caches.arrays())

    def _repeated_layers(self) -> list[Any]:
        """Layers of ours with the same modules as one before; never the last, which may leave."""
        seen: set[tuple[tuple[str, str], ...]] = set()
        repeated: list[Any] = []
        for layer in self.skeleton.layers[self.lo : self.hi - 1]:
            # By name: a module that has a kernel has a class of its own.
            modules = layer.named_modules()
            makeup = tuple((name, type(module).__name__) for name, module in modules)
            if makeup in seen:
                repeated.append(layer)
            seen.add(makeup)
        return repeated

    def _owns(self, owner: int) -> bool:
        return self.lo <= owner < self.hi or (owner < 0 and self.is_first)

    def _check_cuts(self) -> None:
        if not 0 <= self.lo < self.hi <= self.n_layers:
            raise ModelError(
                f"layers [{self.lo}, {self.hi}) are no slice of a model of {self.n_layers} layers"
            )
        for cut in (self.lo, self.hi):
            if cut not in (0, self.n_layers, *self.traced.legal_cuts):
                reasons = "; ".join(self.traced.why) or "unknown reason"
                raise ModelError(f"the model can't be cut before layer {cut}: {reasons}")

    def _choose_donors(self, kinds: list[Any]) -> list[int | None]:
        """Per cache of the whole model the owned one that stands for it (position in `owned`).

        Caches of one kind give the same masks and positions; None: we own none of this kind.
        """
        donors: list[int | None] = []
        for index, kind in enumerate(kinds):
            same = [at for at, owned in enumerate(self._owned) if kinds[owned] == kind]
            own = self._owned.index(index) if index in self._owned else None
            donors.append(own if own is not None else next(iter(same), None))
        return donors

    def _hollow(self) -> None:
        layers = self.skeleton.layers
        for index in range(self.n_layers):
            if not self.lo <= index < self.hi:
                layers[index] = AbsentLayer(layers[index], self._boundary)
        if not self.is_last:
            _leave_after(layers[self.hi - 1])
        outside = self.skeleton.outside_modules()
        keep_embeddings = not self.is_first and self._side_inputs_use_embeddings(outside)
        for item in outside:
            if item.is_embedding and (self.is_first or keep_embeddings):
                continue
            if self.is_last and not item.is_embedding:
                continue
            self._absent[item.path] = item
            item.parent[item.key] = (
                AbsentEmbedding(item.module, item.path, keep=False)
                if item.is_embedding
                else AbsentModule(item.path)
            )

    def _side_inputs_use_embeddings(self, outside: list[OutsideModule]) -> bool:
        """Whether our layers get more of the embedding than through the layers before.

        Computes just what our first layer is given, for two different constant embeddings.
        """
        embeddings = [item for item in outside if item.is_embedding]
        seen: list[list[mx.array]] = []
        try:
            for fill in (0.0, 1.0):
                for item in embeddings:
                    item.parent[item.key] = AbsentEmbedding(
                        item.module, item.path, keep=True, fill=fill
                    )
                seen.append(self._first_layer_inputs())
        finally:
            for item in embeddings:
                item.parent[item.key] = item.module
        return any(not mx.array_equal(a, b).item() for a, b in zip(*seen, strict=True))

    def _first_layer_inputs(self) -> list[mx.array]:
        def make_call(_index: int, _kind: type[Any]) -> Callable[..., Any]:
            def call(_layer: Any, *args: Any, **kwargs: Any) -> Any:
                given = [*args, *kwargs.values()]
                raise _Left([item for item in given if not hasattr(item, "state")])

            return call

        with intercepted([self.skeleton.layers[self.lo]], make_call):
            return arrays_in(self._probe())

    def _probe(self, caches: StageCaches | None = None, *, logits: bool = True) -> Any:
        received = None if self.is_first else self.traced.boundary_like(self.lo)
        ids = mx.zeros(PROBE_SHAPE, mx.int32)
        return self.forward(ids, received, caches or self.make_caches(), logits=logits)

    def _restore_used(self) -> None:
        """Forward lazily until no absent module is asked for; then check that each layer ran."""
        for _ in range(len(self._absent) + 1):
            try:
                ran = self._probe_counting()
                break
            except AbsentWeights as asked:
                item = self._absent.pop(asked.path)
                item.parent[item.key] = (
                    AbsentEmbedding(item.module, item.path, keep=True)
                    if item.is_embedding
                    else item.module
                )
        else:
            raise AssertionError("each round restores a module")
        if ran != list(range(self.lo, self.hi)):
            raise ModelError(f"layers [{self.lo}, {self.hi}) would run as {ran}: not cut")

    def _probe_counting(self) -> list[int]:
        ran: list[int] = []

        def make_call(index: int, kind: type[Any]) -> Callable[..., Any]:
            def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
                ran.append(self.lo + index)
                return kind.__call__(layer, *args, **kwargs)

            return call

        with intercepted(self.skeleton.layers[self.lo : self.hi], make_call):
            self._probe()
        return ran


def _pass_over(_layer: Any, hidden: Any, *_: Any, **__: Any) -> Any:
    return hidden


def _leave_after(layer: Any, when: Callable[[], bool] = lambda: True) -> None:
    layer.__class__ = _leaving(type(layer), when)


def _leaving(kind: type[Any], when: Callable[[], bool]) -> type[Any]:
    """``kind`` whose calls leave the forward; `over` makes the same of another class."""

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output = kind.__call__(layer, *args, **kwargs)
        if when():
            raise _Left(output)
        return output

    def over(other: type[Any]) -> type[Any]:
        return _leaving(other, when)

    return type(kind.__name__, (kind,), {"__call__": call, "over": staticmethod(over)})
