"""Greedy streams against a cluster, and what happens to them when a rank dies."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import openai

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.running_cluster import RunningCluster


@dataclass
class Answer:
    """One streamed answer."""

    text: str = ""
    events: int = 0
    finish_reason: str = ""


@dataclass
class Streams:
    """Several prompts at once; ``on_event`` is called when ``at_event`` events have come in all."""

    cluster: RunningCluster
    prompts: list[str]
    max_tokens: int = 60
    temperature: float = 0.0
    at_event: int = 0
    on_event: Callable[[], None] = field(default=lambda: None)

    def run(self) -> list[Answer]:
        """All answers, in the order of the prompts."""
        self._seen = 0
        self._lock = threading.Lock()
        with (
            openai.OpenAI(
                base_url=self.cluster.base_url, api_key="unused", max_retries=0, timeout=60
            ) as client,
            ThreadPoolExecutor(len(self.prompts)) as pool,
        ):
            return list(pool.map(lambda prompt: self._stream(client, prompt), self.prompts))

    def _stream(self, client: openai.OpenAI, prompt: str) -> Answer:
        answer = Answer()
        for chunk in client.completions.create(
            model=self.cluster.model,
            prompt=prompt,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=7,
            stream=True,
        ):
            self._count()
            answer.events += 1
            answer.text += chunk.choices[0].text
            answer.finish_reason = chunk.choices[0].finish_reason or answer.finish_reason
        return answer

    def _count(self) -> None:
        with self._lock:
            self._seen += 1
            due = self._seen == self.at_event
        if due:
            self.on_event()
