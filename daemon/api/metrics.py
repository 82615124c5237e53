"""Counters of the API for Prometheus, in a registry of their own.

Owns names, labels and buckets. Updated on the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

if TYPE_CHECKING:
    from daemon.api.engine import ModelInfo

disable_created_metrics()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """All metrics of one API process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mlxconsole_requests",
            "HTTP requests answered, by endpoint and status; a stream counts when it ends.",
            ["method", "endpoint", "status"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "mlxconsole_requests_in_flight",
            "HTTP requests that are being answered, streams included.",
            registry=self.registry,
        )
        self.duration = Histogram(
            "mlxconsole_request_duration_seconds",
            "From the request's headers to the last byte of its answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_token = Histogram(
            "mlxconsole_time_to_first_token_seconds",
            "From the request's headers to its first token.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.prompt_tokens = Counter(
            "mlxconsole_prompt_tokens",
            "Tokens of the prompts of requests that have ended.",
            registry=self.registry,
        )
        self.cached_tokens = Counter(
            "mlxconsole_cached_prompt_tokens",
            "Tokens of prompts that were found in the prefix cache.",
            registry=self.registry,
        )
        self.completion_tokens = Counter(
            "mlxconsole_completion_tokens",
            "Tokens generated for requests that have ended.",
            registry=self.registry,
        )
        self.cancelled = Counter(
            "mlxconsole_requests_cancelled",
            "Requests whose client left before the end.",
            registry=self.registry,
        )

        self.running = Gauge(
            "mlxconsole_sequences_running",
            "Sequences that take part in steps of the ranks, as of this page.",
            registry=self.registry,
        )
        self.queued = Gauge(
            "mlxconsole_requests_queued",
            "Sequences that wait for a place among those that run, as of this page.",
            registry=self.registry,
        )

    def sequences(self, info: ModelInfo | None) -> None:
        """Take what the engine says of itself; nothing runs while it is down."""
        self.running.set(info.running if info else 0)
        self.queued.set(info.queued if info else 0)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)
