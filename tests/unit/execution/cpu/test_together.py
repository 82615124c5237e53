"""What is exact together with MLX's kernels is exact together with ours."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.execution import batch_check, kernels, selfcheck
from daemon.execution.stage import Stage
from daemon.execution.trace import trace


@pytest.mark.slow
@pytest.mark.parametrize("name", selfcheck.REPRESENTATIVE)
def test_exact_together_with_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense, experts, sliding window, hybrid and others; the list of exact ones stays true."""
    installed: list[int] = []

    def with_kernels(*given: Any) -> Stage:
        stage = Stage(*given)
        installed.append(kernels.install(stage.model))
        return stage

    monkeypatch.setattr(batch_check, "Stage", with_kernels)
    make = selfcheck.tiny_model(name)
    assert batch_check.check_together(make, trace(make())) == "exact"
    assert all(installed)
