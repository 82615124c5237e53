"""This rank's layers as the engine sees them: execution, wired to the reports. Engine thread."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from daemon.execution import kernels
from daemon.execution.executor import StageExecutor
from daemon.execution.grammar import Grammars
from daemon.execution.loading import load_stage
from daemon.execution.placement import place
from daemon.messages import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from daemon.engine.interfaces import Report
    from daemon.execution.loading import LoadProgress
    from daemon.execution.model_card import ModelCard
    from daemon.messages import Hello, Step

log = logging.getLogger(__name__)


def make_plan(card: ModelCard, hellos: Mapping[int, Hello], world_size: int) -> Plan:
    """Layers for the ranks that are there; by speed, if all know theirs.

    Raises:
        PlacementError: they have too little memory.
    """
    present = [hellos[rank] for rank in sorted(hellos)]
    speeds = [hello.bandwidth_gb_s for hello in present]
    limits = [hello.memory_limit_bytes for hello in present]
    placed = iter(place(card, limits, speeds if all(speeds) else None))
    ranges = tuple(next(placed) if rank in hellos else (0, 0) for rank in range(world_size))
    return Plan(card.fingerprint, ranges)


class LoadedShard:
    """Implements `daemon.engine.interfaces.Shard` over a model folder."""

    def __init__(
        self,
        path: Path,
        report: Report,
        cpu_threads: int = 1,
        kv_bits: int = 0,
        *,
        exact: bool = False,
    ) -> None:
        """Serve layers of ``path``.

        Args:
            path: the model's folder.
            report: told what is under way.
            cpu_threads: 0: without our CPU kernels.
            kv_bits: 8 for caches in 8 bits.
            exact: run every sequence alone.
        """
        self._path = path
        self._cpu_threads = cpu_threads
        self._kv_bits = kv_bits
        self._batching = False if exact else None
        self._report = report
        self._grammars = Grammars(path / "tokenizer.json")
        self._executor: StageExecutor | None = None
        self.layers: tuple[int, int] = (0, 0)
        """[lo, hi); (0, 0) before the first assignment. Read by the sampler, as is the rest."""
        self.progress: LoadProgress | None = None
        self.computes_here = False
        """Whether our CPU kernels run, in this process."""

    @property
    def weights_bytes(self) -> int:
        """Parameters held."""
        return self._executor.weights_bytes if self._executor else 0

    @property
    def kv_bytes(self) -> int:
        """Key/value caches of the live sequences."""
        return self._executor.kv_bytes if self._executor else 0

    @property
    def prefix_bytes(self) -> int:
        """The prefix cache."""
        return self._executor.prefix_bytes if self._executor else 0

    def assign(self, lo: int, hi: int) -> None:
        """Hold layers [lo, hi) and no sequence; raises ModelError."""
        if self._executor is not None and self.layers == (lo, hi):
            self._executor.reset()
            return
        self._report.state("LOADING", f"layers {lo} to {hi - 1}")
        began = time.monotonic()
        self._executor = None  # the old layers' memory is free before the new ones are read
        self.layers = (lo, hi)
        stage = load_stage(self._path, lo, hi, self._progressed, self._kv_bits)
        installed = 0
        if self._cpu_threads:
            installed = kernels.install(stage.model, self._cpu_threads, self._compiling)
        self.computes_here = installed > 0
        if installed:
            stage.warm_up()
        self._executor = StageExecutor(stage, self._grammars, batching=self._batching)
        fields = {
            "lo": lo,
            "hi": hi,
            "seconds": round(time.monotonic() - began, 3),
            "kernels": installed,
            "batching": self._executor.batching,
        }
        log.info("loaded", extra={"fields": fields})

    def run(self, step: Step, hidden: Any) -> Any:
        """Apply a step."""
        if self._executor is None:
            raise RuntimeError("no layers are loaded")
        return self._executor.run(step, hidden)

    def _compiling(self) -> None:
        self._report.state("LOADING", "compiling CPU kernels, once on this machine")

    def _progressed(self, progress: LoadProgress) -> None:
        self.progress = progress
