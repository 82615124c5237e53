"""Cached prefixes on a stage: the same bits as a cold run, copies of their own, and their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import pytest

from daemon.errors import ModelError
from daemon.execution import selfcheck
from daemon.execution.free_cuts import FREE_CUTS
from daemon.execution.loading import load_stage
from daemon.execution.prefix_store import PrefixStore
from daemon.execution.reuse_check import check_reuse
from daemon.execution.skeleton import with_small_kv
from daemon.execution.trace import trace
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon.execution.skeleton import Skeleton

PROMPT = staged.random_prompt(40, 512)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen3", "free"),
        ("qwen3_moe", "free"),
        ("gemma3_text", "exact"),  # rotating caches, beyond their window
        ("qwen3_next", "exact"),  # recurrent states beside attention
        ("deepseek_v3", "exact"),  # compressed attention: decoding gives other bits
        ("llama4", "exact"),  # chunked caches
        ("mamba", "exact"),  # states only
    ],
)
def test_going_on_from_a_prefix_gives_the_bits_of_a_cold_run(name: str, expected: str) -> None:
    """Tokens, logprobs and top alternatives, on two stages, from three lengths of prefix."""
    make = selfcheck.tiny_model(name)
    assert check_reuse(make, trace(make())) == expected
    assert (name in FREE_CUTS) == (expected == "free")


@pytest.mark.slow
def test_every_architecture_reuses_exactly() -> None:
    """The list of those whose cuts are free is what the check finds."""
    found: dict[str, str] = {}
    for name in selfcheck.architectures():
        try:
            make = selfcheck.tiny_model(name)
            traced = trace(make())
        except (ModelError, ValueError):  # needs Metal, or a packed checkpoint
            continue
        found[name] = check_reuse(make, traced)
    assert len(found) > 100
    assert [name for name, verdict in found.items() if verdict == "wrong"] == []
    assert {name for name, verdict in found.items() if verdict == "free"} == FREE_CUTS


@pytest.mark.parametrize("name", ["qwen3", "qwen3_moe", "gemma3_text"])
def test_8_bit_kv_reuses_exactly(name: str) -> None:
    """Its entries are quantised one token at a time, so they can be cut like others."""
    plain = selfcheck.tiny_model(name)

    def make() -> Skeleton:
        return with_small_kv(plain())

    assert check_reuse(make, trace(make())) in {"free", "exact"}


def test_8_bit_kv_is_refused_where_attention_can_not_read_it() -> None:
    """Before anything is loaded, with the reason and what to do."""
    with pytest.raises(ModelError, match=r"deepseek_v3 can't keep its KV in 8 bits .*kv_bits = 0"):
        with_small_kv(selfcheck.tiny_model("deepseek_v3")())
    with pytest.raises(ModelError, match="mamba can't keep its KV in 8 bits"):
        with_small_kv(selfcheck.tiny_model("mamba")())


def test_blocks_hold_bytes_of_their_own(model_folder: Callable[[str], Path]) -> None:
    """A view would hold the memory of the whole cache that it was cut from."""
    stage = load_stage(model_folder("dense"), 0, 4)
    caches = stage.make_caches()
    mx.eval(stage.forward(mx.array([PROMPT]), None, caches), caches.arrays())
    store = PrefixStore(stage)
    for number in range(4):
        at = 8 * number
        store.keep(1 + number, PROMPT[at : at + 8], caches, at, snapshot=False)
    per_token = 4 * 2 * 2 * 32 * 4  # layers, keys and values, heads, their size, float32
    assert store.nbytes == 32 * per_token
    prefix = store.open((1, 2))
    assert prefix is not None
    assert (prefix.tokens, prefix.caches.length) == (PROMPT[:16], 16)
    store.drop(4)
    store.drop(99)
    assert (len(store), store.nbytes) == (3, 24 * per_token)
    assert store.open((1, 4)) is None
    store.clear()
    assert (len(store), store.nbytes) == (0, 0)
