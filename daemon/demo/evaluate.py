"""Score a model folder with mlx-lm in this process: `python -m daemon.demo.evaluate`.

Prints a table per kind. The same cases go through a running cluster in the integration tests.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm import load
from mlx_lm.generate import generate
from mlx_lm.sample_utils import make_sampler

from daemon.demo import model_path
from daemon.demo.case import Case
from daemon.demo.conversations import essentials, held_out

MAX_TOKENS = 120


class Answerer:
    """Answers cases with mlx-lm's own `load` and `generate`."""

    def __init__(self, folder: Path, *, temperature: float = 0.0, thinking: bool = False) -> None:
        mx.set_default_device(mx.cpu)
        self._model, self.tokenizer, *_ = load(str(folder))
        self._sampler = make_sampler(temp=temperature)
        self._thinking = thinking

    def answer(self, case: Case) -> tuple[str, list[dict[str, Any]]]:
        """Return the text and the tool calls that the model writes, its thought taken off."""
        prompt = self.tokenizer.apply_chat_template(
            case.messages,
            tools=case.tools,
            add_generation_prompt=True,
            enable_thinking=self._thinking,
        )
        text = generate(
            self._model, self.tokenizer, prompt, max_tokens=MAX_TOKENS, sampler=self._sampler
        )
        if self._thinking and not text.startswith("<think>\n"):
            return "", []
        said, found, call = text.split("</think>")[-1].partition("<tool_call>")
        if not found:
            return said.strip(), []
        try:
            return said.strip(), [json.loads(call.split("</tool_call>")[0])]
        except json.JSONDecodeError:
            return text, []

    def logits(self, prompt: list[int]) -> mx.array:
        """Run a prompt without a cache; the result is (1, length, vocabulary)."""
        return self._model(mx.array(prompt)[None])

    def right(self, case: Case) -> bool:
        """Answer a case and judge it."""
        return case.check(*self.answer(case))


def table(answerer: Answerer, cases: list[Case], *, wrong: int = 0) -> str:
    """Score cases per kind; also print the first `wrong` wrong answers."""
    asked, right = Counter(case.kind for case in cases), Counter[str]()
    for case in cases:
        said = answerer.answer(case)
        if case.check(*said):
            right[case.kind] += 1
        elif wrong > 0:
            wrong -= 1
            sys.stdout.write(f"{case.kind}: {case.messages}\n  wanted ")
            sys.stdout.write(f"{case.expected or case.call}, got {said}\n")
    rows = [f"| {kind} | {right[kind]} / {asked[kind]} |" for kind in sorted(asked)]
    share = 100 * right.total() / asked.total()
    head = ["| kind | right |", "|---|---|"]
    return "\n".join([*head, *rows, f"| all | {right.total()} / {asked.total()} ({share:.1f} %) |"])


def main() -> None:
    """Read the command line and score."""
    parser = argparse.ArgumentParser(
        description="Score a model folder with mlx-lm.", allow_abbrev=False
    )
    parser.add_argument("--model", type=Path, default=model_path())
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--thinking", action="store_true")
    parser.add_argument("--wrong", type=int, default=0, help="print so many wrong answers")
    options = parser.parse_args()
    answerer = Answerer(options.model, temperature=options.temperature, thinking=options.thinking)
    cases = [*essentials(), *held_out(options.cases, options.seed)]
    sys.stdout.write(table(answerer, cases, wrong=options.wrong) + "\n")


if __name__ == "__main__":
    main()
