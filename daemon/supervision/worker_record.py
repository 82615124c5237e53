"""The last measurements of the running worker, as control.proto shows them. Pure data.

Knows neither the process nor its life: the supervisor puts the three together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.telemetry.rates import CounterRate
from protos import control_pb2

if TYPE_CHECKING:
    from daemon.supervision.reports import Numbers, SampleReport


_OF_THE_MOMENT = ("queue_depth", "sequences", "batch", "in_flight", "drained", "last_step_age_s")


class WorkerRecord:
    """Samples of one worker after the other."""

    def __init__(self) -> None:
        self._tokens = CounterRate()
        self.clear()

    def clear(self) -> None:
        """A new worker: nothing is known of it."""
        self.memory = control_pb2.Memory()
        self.counters = control_pb2.Counters()
        self.progress = control_pb2.Progress()
        self.layers = (0, 0)
        self.gauges: Numbers = {}
        self.histograms: dict[str, control_pb2.Histogram] = {}
        self.links: tuple[control_pb2.LinkStatus, ...] = ()
        self.requests: control_pb2.RequestTable | None = None
        self.build = ""
        self._tokens.clear()

    def process_ended(self) -> None:
        """Without a worker there is no memory and no rate; what it owned stays visible."""
        self.memory = control_pb2.Memory()
        for name in _OF_THE_MOMENT:
            self.gauges.pop(name, None)
        self.links, self.requests = (), None
        self._tokens.clear()

    def take(self, sample: SampleReport, now_s: float) -> None:
        """Add a sample of the running worker."""
        _update(self.memory, sample.memory)
        _update(self.counters, sample.counters)
        _update(self.progress, sample.progress)
        self.layers = sample.layers or self.layers
        self.gauges |= sample.gauges
        self.histograms |= sample.histograms
        self.links = self.links if sample.links is None else sample.links
        self.requests = sample.requests or self.requests
        self.build = sample.build or self.build
        if "tokens_out" in sample.counters:
            self._tokens.add(now_s, sample.counters["tokens_out"])

    def fill(self, status: control_pb2.RankStatus, now_s: float) -> None:
        """Copy everything known into ``status``."""
        status.memory.CopyFrom(self.memory)
        status.counters.CopyFrom(self.counters)
        status.progress.CopyFrom(self.progress)
        status.layer_lo, status.layer_hi = self.layers
        status.tokens_per_s = self._tokens.per_second(now_s)
        _update(status, self.gauges)
        for name, histogram in self.histograms.items():
            getattr(status, name).CopyFrom(histogram)
        status.links.extend(self.links)
        status.build = self.build


def _update(message: Any, numbers: Numbers) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in numbers.items():
        is_real = fields[name].type == fields[name].TYPE_DOUBLE
        setattr(message, name, float(value) if is_real else int(value))
