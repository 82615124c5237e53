"""Proves on this machine that cutting changes nothing: staged against whole, bit for bit.

Builds a tiny random model of every architecture of mlx-lm, or takes the user's own. Knows no
network. Engine thread (the caller's).
"""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from daemon.errors import ModelError
from daemon.execution.batch_check import check_together
from daemon.execution.light_import import model_imports
from daemon.execution.random_weights import randomise
from daemon.execution.skeleton import arrays_in, open_skeleton, parameters, skeleton_of
from daemon.execution.source import model_path
from daemon.execution.stage import Stage
from daemon.execution.tiny_configs import tiny_config
from daemon.execution.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.execution.skeleton import Skeleton

REPRESENTATIVE = ("qwen3", "qwen3_moe", "gemma3_text", "qwen3_next", "deepseek_v3", "gpt2")
"""Dense, mixture of experts, sliding window, hybrid, compressed attention, learned positions."""
CHUNKS = (11, 9, 1, 1, 1)
"""Tokens of each forward: two portions of a prompt that outgrow a tiny window, then decoding."""


@dataclass(frozen=True)
class Finding:
    """What the check found out about one architecture."""

    name: str
    cuts: str
    """Legal cuts of all."""
    verdict: str
    """`exact`, `whole only`, `not built` or `DIFFERS`."""
    note: str = ""
    together: str = ""
    """How sequences decoded together compare: see `batch_check.check_together`."""

    @property
    def is_wrong(self) -> bool:
        """Whether staged and whole disagree."""
        return self.verdict == "DIFFERS"


def run(model: str | None, all_architectures: bool, out: Callable[[str], object] = print) -> int:
    """Check one model, all architectures, or a representative few; a table goes to ``out``.

    Returns:
        0 if nothing differs, 1 otherwise; the exit code of `mlx-daemon selfcheck`.
    """
    out(f"{'architecture':<24} {'cuts':>7}  {'verdict':<10}  {'together':<8}  note")
    if model is not None:
        folder = model_path(model)
        findings = [_report(check(model, lambda: open_skeleton(folder)), out)]
    else:
        names = architectures() if all_architectures else REPRESENTATIVE
        findings = [_report(check_architecture(name), out) for name in names]
    wrong = [finding.name for finding in findings if finding.is_wrong]
    exact = sum(finding.verdict == "exact" for finding in findings)
    out(f"{exact} of {len(findings)} exact, {len(wrong)} wrong" + "".join(f" {n}" for n in wrong))
    return 1 if wrong else 0


def architectures() -> list[str]:
    """Names of the modules of mlx-lm that define a model."""
    with model_imports():
        models = importlib.import_module("mlx_lm.models")
        names = [item.name for item in pkgutil.iter_modules(models.__path__)]
    return sorted(name for name in names if _classes(name) is not None)


def check_architecture(name: str) -> Finding:
    """Check a tiny random model of one architecture."""
    try:
        make = tiny_model(name)
    # A wrong guess of ours at the config of a new architecture shows in many ways.
    except Exception as error:  # noqa: BLE001
        return Finding(name, "-", "not built", _first_line(error))
    return check(name, make)


def check(name: str, make: Callable[[], Skeleton]) -> Finding:
    """Compare the whole model with the finest legal cut and with a cut in two."""
    try:
        whole = make()
        traced = trace(whole)
        expected = _logits([Stage(whole, 0, traced.n_layers, traced)])
    except (ModelError, RuntimeError) as error:
        return Finding(name, "-", "not built", _first_line(error))
    cuts = f"{len(traced.legal_cuts)}/{traced.n_layers - 1}"
    if not traced.legal_cuts:
        return Finding(name, cuts, "whole only", "; ".join(traced.why))
    middle = traced.legal_cuts[len(traced.legal_cuts) // 2]
    for edges in ({0, *traced.legal_cuts, traced.n_layers}, {0, middle, traced.n_layers}):
        ordered = sorted(edges)
        ranges = list(pairwise(ordered))
        try:
            got = _logits([Stage(make(), lo, hi, traced) for lo, hi in ranges])
        # Any failure of a cut model where the whole one ran is a finding, not a crash.
        except Exception as error:  # noqa: BLE001
            return Finding(name, cuts, "DIFFERS", f"{len(ranges)} stages fail: {error!r}")
        worst = max(_distance(a, b) for a, b in zip(expected, got, strict=True))
        if worst:
            return Finding(name, cuts, "DIFFERS", f"{len(ranges)} stages: by {worst:.3g}")
    together = check_together(make, traced)
    blind = "" if _varied(expected) else "blind: the tiny model answers the same always"
    return Finding(name, cuts, "exact", blind or "; ".join(traced.why), together)


def _logits(stages: Sequence[Stage]) -> list[mx.array]:
    """The logits of the last position after each chunk of a fixed random text."""
    caches = [stage.make_caches() for stage in stages]
    ids = mx.random.randint(1, 200, (1, sum(CHUNKS)), key=mx.random.key(3))
    results: list[mx.array] = []
    at = 0
    for count in CHUNKS:
        value: Any = None
        for stage, cache in zip(stages, caches, strict=True):
            value = stage.forward(ids[:, at : at + count], value, cache)
            mx.eval(arrays_in(value), cache.arrays())
        results.append(value[:, -1, :])
        at += count
    return results


def tiny_model(name: str) -> Callable[[], Skeleton]:
    """A maker of skeletons with the same random weights each time."""
    config = tiny_config(name)

    def build() -> Any:
        with model_imports():
            model_class, args_class = _classes(name) or (None, None)
            if model_class is None or args_class is None:
                raise ModelError(f"mlx-lm has no model {name}")
            model = model_class(args_class.from_dict(config))
        model.eval()
        return model

    first = build()
    randomise(first)
    weights = parameters(first)
    mx.eval(weights)

    def make() -> Skeleton:
        model = build()
        model.load_weights(list(weights.items()))
        return skeleton_of(model)

    return make


def _classes(name: str) -> tuple[Any, Any] | None:
    with model_imports(), redirect_stdout(StringIO()):
        try:
            module = importlib.import_module(f"mlx_lm.models.{name}")
        # One of them prints a hint and ends the interpreter when a package of its own is missing.
        except (Exception, SystemExit):  # noqa: BLE001
            return None
    if not (hasattr(module, "Model") and hasattr(module, "ModelArgs")):
        return None
    return module.Model, module.ModelArgs


def _distance(a: mx.array, b: mx.array) -> float:
    """Largest difference; infinite if one is no number where the other is."""
    if mx.array_equal(a, b, equal_nan=True).item():
        return 0.0
    difference = mx.abs(a.astype(mx.float32) - b.astype(mx.float32)).max()
    value = float(difference.item())  # pyright: ignore[reportArgumentType] - a real scalar
    return value if value == value else float("inf")  # noqa: PLR0124 - that is how NaN shows


def _varied(logits: list[mx.array]) -> bool:
    return not any(mx.any(mx.isnan(item)).item() for item in logits) and not any(
        mx.array_equal(logits[0], item).item() for item in logits[1:]
    )


def _report(finding: Finding, out: Callable[[str], object]) -> Finding:
    checks = f"{finding.verdict:<10}  {finding.together:<8}"
    row = f"{finding.name:<24} {finding.cuts:>7}  {checks}  {finding.note}"
    out(row.rstrip()[:200])
    return finding


def _first_line(error: Exception) -> str:
    text = str(error).strip() or repr(error)
    return text.splitlines()[0][:120]
