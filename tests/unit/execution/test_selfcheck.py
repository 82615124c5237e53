"""The self-check tells exact from wrong, and proves it for mlx-lm's architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import pytest
from mlx import nn

from daemon.execution import selfcheck
from daemon.execution.skeleton import skeleton_of
from daemon.execution.stage import Stage
from daemon.execution.together import EXACT_TOGETHER
from daemon.execution.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon.execution.skeleton import Skeleton

WIDTH = 8


class _Toy(nn.Module):
    """Four linear layers that ``wiring`` connects."""

    def __init__(self, wiring: str) -> None:
        super().__init__()
        mx.random.seed(0)
        self.wiring = wiring
        self.embed = nn.Embedding(256, WIDTH)
        self.layers = [nn.Linear(WIDTH, WIDTH) for _ in range(4)]
        self.head = nn.Linear(WIDTH, 256)
        mx.eval(self.parameters())

    def make_cache(self) -> list[Any]:
        return []

    def __call__(self, ids: mx.array, cache: Any = None) -> mx.array:
        hidden: mx.array = self.embed(ids)
        outputs = [hidden]
        order = [1, 0, 2, 3] if self.wiring == "disordered" else range(4)
        for index in order:
            given = outputs[-1]
            if self.wiring == "hidden skip" and index == 3:
                given = given + outputs[1]
            if self.wiring == "skip" and index == 3:
                given = outputs[1]
            outputs.append(self.layers[index](given))
        return self.head(outputs[-1])


def _toy(wiring: str) -> Callable[[], Skeleton]:
    return lambda: skeleton_of(_Toy(wiring))


def test_a_chain_of_layers_is_exact() -> None:
    """Any class with a list of layers will do."""
    finding = selfcheck.check("toy", _toy("chain"))
    assert (finding.cuts, finding.verdict) == ("3/3", "exact")


def test_a_skip_connection_forbids_the_cuts_inside_it() -> None:
    """Where the skipping value is itself the boundary, and the reason names both layers."""
    traced = trace(_toy("skip")())
    assert traced.legal_cuts == (1,)
    assert "layer 3 uses an output of layer 0" in traced.why
    assert selfcheck.check("toy", _toy("skip")).verdict == "exact"


def test_disordered_layers_can_not_be_cut() -> None:
    """A model that runs its layers in an order of its own stays whole."""
    finding = selfcheck.check("toy", _toy("disordered"))
    assert finding.verdict == "whole only"
    assert "1, 0, 2, 3" in finding.note


def test_a_connection_that_the_trace_can_not_see_is_found_out() -> None:
    """The comparison itself must be able to fail."""
    finding = selfcheck.check("toy", _toy("hidden skip"))
    assert finding.is_wrong


def test_a_model_without_layers_is_not_built() -> None:
    """Nothing to cut is a finding, not a crash."""
    finding = selfcheck.check_architecture("no_such_module")
    assert finding.verdict == "not built"


def test_the_table_and_the_exit_code() -> None:
    """What `mlx-daemon selfcheck` prints for the representative architectures, and returns."""
    lines: list[str] = []
    assert selfcheck.run(None, all_architectures=False, out=lines.append) == 0
    assert lines[-1] == "6 of 6 exact, 0 wrong"
    assert [line.split()[0] for line in lines[1:-1]] == list(selfcheck.REPRESENTATIVE)


def test_the_users_own_model(model_folder: Callable[[str], Path]) -> None:
    """`--model PATH`."""
    lines: list[str] = []
    folder = str(model_folder("4bit"))
    assert selfcheck.run(folder, all_architectures=False, out=lines.append) == 0
    assert "7/7  exact" in lines[1]


@pytest.mark.parametrize(
    "name",
    ["llama4_text", "gemma3n", "falcon_h1", "nemotron_h"],
)
def test_architectures_with_unusual_insides(name: str) -> None:
    """Layers without positions, per-layer embeddings, mixed caches, patterns of layers."""
    assert selfcheck.check_architecture(name).verdict == "exact"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_architecture_of_mlx_lm() -> None:
    """The full set; the few that can't be compared are known, and so are those that batch."""
    findings = [selfcheck.check_architecture(name) for name in selfcheck.architectures()]
    assert not [finding for finding in findings if finding.is_wrong]
    not_exact = {finding.name for finding in findings if finding.verdict != "exact"}
    assert not_exact <= {
        "bitnet",  # needs Metal
        "muse_spark",  # needs Metal
        "prism_hadamard_qwen35",  # needs a packed checkpoint
        "iquestloopcoder",  # calls its layers in parts: runs whole
    }
    together = {finding.name for finding in findings if finding.together == "exact"}
    assert together == EXACT_TOGETHER - not_exact


def test_an_illegal_cut_is_refused_with_the_reason() -> None:
    """A plan of another version must not be run wrongly."""
    with pytest.raises(Exception, match="can't be cut before layer 2: layer 3 uses"):
        Stage(_toy("skip")(), 0, 2)
