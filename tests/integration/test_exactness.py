"""Greedy text of a cluster is mlx-lm's own, whatever the number of ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx_lm
import openai
import pytest

from daemon.demo import model_path
from daemon.execution import kernels
from tests.support.running_cluster import start_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration
QUESTIONS = [
    "What is the capital of France?",
    "Count from 3 to 12.",
    "What is 17 + 25?",
    "Tell me something that nobody taught you, in as many words as you like.",
]
MAX_TOKENS = 40


@pytest.fixture(scope="module")
def references() -> dict[str, str]:
    """What mlx-lm answers in this process, from the whole model, on the ranks' own kernels."""
    return _answers(with_kernels=True)


def _answers(*, with_kernels: bool) -> dict[str, str]:
    model, tokenizer = mlx_lm.load(str(model_path()))[:2]
    if with_kernels:
        kernels.install(model)
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            enable_thinking=False,
        )
        answers[question] = mlx_lm.generate(model, tokenizer, prompt, max_tokens=MAX_TOKENS)
    return answers


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_greedy_text_equals_mlx_lm(tmp_path: Path, references: dict[str, str], ranks: int) -> None:
    """Cutting the model must not change a single character."""
    _compare(start_cluster(tmp_path, ranks=ranks), references)


def test_without_cpu_kernels_text_equals_plain_mlx_lm(tmp_path: Path) -> None:
    """Nothing of ours is in the way then: mlx-lm as it comes is the reference."""
    plain = _answers(with_kernels=False)
    _compare(start_cluster(tmp_path, ranks=2, options=("--cpu-kernels", "off")), plain)


def _compare(running: RunningCluster, references: dict[str, str]) -> None:
    try:
        client = openai.OpenAI(base_url=running.base_url, api_key="unused")
        for question, reference in references.items():
            answer = client.chat.completions.create(
                model="demo",
                messages=[{"role": "user", "content": question}],
                temperature=0,
                max_tokens=MAX_TOKENS,
                extra_body={"chat_template_kwargs": {"enable_thinking": False}},
            )
            assert answer.choices[0].message.content == reference
    finally:
        assert running.down().returncode == 0
