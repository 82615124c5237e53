"""Requests to a running cluster, a few at a time: what a test does something else under."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.support.running_cluster import RunningCluster

STREAMS = 4


@contextmanager
def loaded(cluster: RunningCluster) -> Generator[None]:
    """A few streams at a time, one after the other."""
    done = threading.Event()

    def ask() -> None:
        body = {"model": cluster.model, "prompt": "a", "max_tokens": 60, "ignore_eos": True}
        while not done.is_set():
            answer = httpx.post(f"{cluster.base_url}/completions", json=body, timeout=60)
            assert answer.status_code == 200

    with ThreadPoolExecutor(STREAMS) as pool:
        asking = [pool.submit(ask) for _ in range(STREAMS)]
        try:
            yield
        finally:
            done.set()
    for one in asking:
        one.result()
