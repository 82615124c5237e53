"""The shipped demo model, as mlx-lm itself loads and runs it in this process."""

from __future__ import annotations

import json

import mlx.core as mx
import pytest

from daemon.demo import model_path
from daemon.demo.conversations import essentials, held_out
from daemon.demo.convert import quantised
from daemon.demo.evaluate import Answerer, table

MEGABYTE = 1_000_000
CASES = 60


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    """The shipped model, greedy and not thinking."""
    return Answerer(model_path())


def test_model_is_small_enough_for_the_repository() -> None:
    """Every clone carries it."""
    assert sum(file.stat().st_size for file in model_path().iterdir()) <= 8 * MEGABYTE


def test_model_is_tied_eight_bit_qwen3_of_eight_layers() -> None:
    """Eight ranks get a layer each, and every loading path of real models is used."""
    config = json.loads((model_path() / "config.json").read_text())
    assert config["model_type"] == "qwen3"
    assert config["tie_word_embeddings"] is True
    assert config["num_hidden_layers"] >= 8
    assert config["max_position_embeddings"] == 8192
    assert config["quantization"] == {"group_size": 64, "bits": 8, "mode": "affine"}
    weights = mx.load(str(model_path() / "model.safetensors"))
    assert isinstance(weights, dict)
    assert weights["model.embed_tokens.weight"].dtype == mx.uint32
    assert "lm_head.weight" not in weights


def test_quantising_keeps_norms_and_packs_matrices() -> None:
    """mlx-lm finds scales beside each packed matrix, and nothing beside a norm."""
    packed = quantised({"a.weight": mx.ones((64, 128)), "b.weight": mx.ones((128,))})
    assert sorted(packed) == ["a.biases", "a.scales", "a.weight", "b.weight"]
    assert packed["a.scales"].shape == (64, 2)


def test_tools_and_thinking_are_detected(answerer: Answerer) -> None:
    """The API relies on mlx-lm's own detection for both."""
    assert answerer.tokenizer.has_thinking
    assert answerer.tokenizer.has_tool_calling
    parse = answerer.tokenizer.tool_parser
    assert parse is not None
    call = parse('{"name": "add", "arguments": {"a": 1}}')
    assert call == {"name": "add", "arguments": {"a": 1}}


def test_thinking_switch_fills_the_prompt(answerer: Answerer) -> None:
    """Not thinking means that the prompt already holds an empty thought."""
    messages = [{"role": "user", "content": "Hi"}]
    texts = {
        thinking: answerer.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=thinking
        )
        for thinking in (True, False)
    }
    assert texts[False] == texts[True] + "<think>\n\n</think>\n\n"


def test_a_newcomers_first_questions_are_answered(answerer: Answerer) -> None:
    """These are what the README and the console suggest."""
    wrong = [case.messages for case in essentials() if not answerer.right(case)]
    assert wrong == []


def test_unseen_conversations_are_answered(answerer: Answerer) -> None:
    """The requirement: at least 95 % right on conversations that training never saw."""
    cases = held_out(CASES)
    right = sum(answerer.right(case) for case in cases)
    assert right >= 0.95 * CASES, table(answerer, cases)


def test_thinking_comes_before_the_answer() -> None:
    """With the switch on, the model writes a thought and then still answers."""
    thinker = Answerer(model_path(), thinking=True)
    wrong = [case.messages for case in essentials() if not thinker.right(case)]
    assert wrong == []


def test_long_context_runs(answerer: Answerer) -> None:
    """Far beyond the trained lengths the answer is free, but it must be finite and end."""
    case = essentials()[0]
    filler = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
    long = [*(filler * 60), *case.messages]
    prompt = answerer.tokenizer.apply_chat_template(long, add_generation_prompt=True)
    assert len(prompt) > 900
    logits = answerer.logits(prompt)
    assert mx.all(mx.isfinite(logits)).item()
