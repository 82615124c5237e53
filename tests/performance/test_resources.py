"""Memory, caches and batches: the customer's plan, section 5.2. Counts decide, not the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx

from daemon.engine.kv_budget import KvBudget, RankKv
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.local_engine import LocalEngine

TOKEN_BYTES = 8 * 2 * 2 * 32 * 4
"""Of the small model: layers, keys and values, heads, their size, float32."""


def test_large_context_handling(
    benchmark: Any, make_engine: Callable[..., LocalEngine], small_model: Path
) -> None:
    """A prompt of 2,100 tokens in chunks over two stages gives the tokens of mlx-lm."""
    prompt = staged.random_prompt(2100, 512)
    answer = benchmark.pedantic(make_engine().answer, ("long", prompt, 8), rounds=1)
    assert answer == staged.reference(small_model, prompt, 8)


def test_batch_processing(benchmark: Any, make_engine: Callable[..., LocalEngine]) -> None:
    """Eight requests at once take the steps of one, and each its own tokens."""
    prompts = {str(n): staged.random_prompt(9 + 5 * n, 512, seed=n) for n in range(8)}
    alone = make_engine()
    expected = {name: alone.answer(name, prompt, 20) for name, prompt in prompts.items()}
    together = make_engine()
    asked = {name: together.submit(name, prompt, 20) for name, prompt in prompts.items()}
    benchmark.pedantic(together.settle, rounds=1)
    assert {name: item.generated for name, item in asked.items()} == expected
    print(f"steps: {together.steps} together, {alone.steps} one after another")
    assert together.steps <= alone.steps / 4


def test_cache_efficiency(benchmark: Any, make_engine: Callable[..., LocalEngine]) -> None:
    """A known beginning of 2,000 tokens is not run again, and changes no token."""
    engine = make_engine()
    prompt = staged.random_prompt(2000, 512)
    cold = engine.answer("cold", prompt, 8)
    before = engine.tokens_run
    warm = benchmark.pedantic(engine.answer, ("warm", prompt, 8), rounds=1)
    assert warm == cold
    assert engine.cached == {"cold": 0, "warm": 1984}
    assert engine.tokens_run - before == 16 + 7
    ratio = engine.first_token_s["warm"] / engine.first_token_s["cold"]
    print(f"first token after {engine.first_token_s}: {ratio:.3f} of the cold one")
    assert ratio < 0.5  # the goal is 0.1; this must hold on any machine


def test_memory_usage_monitoring(benchmark: Any, make_engine: Callable[..., LocalEngine]) -> None:
    """Requests leave nothing behind but a prefix cache within its bound."""
    prefix_bytes = 10 * 64 * TOKEN_BYTES
    rank = RankKv(capacity_bytes=1 << 30, prefix_bytes=prefix_bytes, token_bytes=TOKEN_BYTES)
    engine = make_engine(budget=KvBudget((rank,), 64))
    held: list[int] = []

    def answer_all() -> None:
        for number in range(60):
            engine.answer(str(number), staged.random_prompt(70, 512, seed=number), 2)
            mx.clear_cache()
            held.append(mx.get_active_memory())

    benchmark.pedantic(answer_all, rounds=1)
    per_request = (held[-1] - held[29]) / 30
    print(f"{per_request:.0f} bytes per request after warm-up, {held[-1]:,} held")
    assert per_request < 1000
    assert sum(executor.prefix_bytes for executor in engine.executors) <= prefix_bytes
