"""The suites by name, and what one needs to run. Heavy imports stay in the suites."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlxconsole.bench.figures import Figure

    Suite = Callable[["Task"], list[Figure]]

SUITES: dict[str, str] = {
    "communication": "latency, bandwidth and all-reduce, beside raw TCP, bare gRPC, the MLX ring",
    "cpu": "decode, prefill, 16 streams and long contexts on one core, beside its memory's limit",
    "engine": "decode, prefill, batch and context in one process, beside mlx-lm's own loop",
    "scaling": "two ranks on a core each, against one rank on one core",
    "http": "first token, tokens between, throughput at 1 to 64 streams, beside mlx_lm.server",
    "prompts": "streams while a long prompt is read, and its first token when it is cached",
    "recovery": "kill ranks under load: how long a client waits",
    "console": "CPU, output and the wait for a key at 8 and 64 ranks, beside stock widgets",
}
"""Name to what it measures, in the order in which they run; each is a module of this package."""


@dataclass(frozen=True)
class Task:
    """What a suite is asked to do."""

    folder: Path
    """For models and whatever else; gone afterwards."""
    tell: Callable[[str], None]
    """Progress, in words."""
    miss: Callable[[str], None]
    """What could not be measured, and why."""
    quick: bool = False
    model: str = ""
    """A folder, `demo` or a hub id; empty: what suits the suite."""
    url: str = ""
    """Of a running cluster's endpoint; empty: the suite starts its own."""


def load(name: str) -> Suite:
    """The suite's function."""
    return importlib.import_module(f"mlxconsole.bench.{name}").measure_suite
