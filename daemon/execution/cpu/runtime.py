"""What all kernel calls of one engine thread share: the crew, the memory for results and rows."""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING, Any

from daemon.execution.cpu.arrays import Arguments, Output
from daemon.execution.cpu.crew import Crew
from daemon.execution.cpu.machine import machine
from daemon.execution.cpu.ready import Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.execution.cpu.arrays import Job
    from daemon.execution.cpu.machine import Machine

LEAST_SHARED = 1 << 18
"""Multiply-adds from which waking helpers pays."""


class Runtime:
    """Finds kernels and runs them."""

    def __init__(
        self,
        threads: int = 1,
        code: Machine | None = None,
        on_compile: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the crew; ``on_compile`` is called once before the first kernel is built."""
        self.machine = code or machine()
        self._on_compile: Callable[[], None] | None = on_compile
        self.lanes = self.machine.lanes
        self._tell("crew")
        self.crew = Crew(self.machine, threads)
        self.output = Output()
        self.ready = Ready(self)
        self.between = Output()
        """What a block of layers computes on the way."""

    def kernel(self, name: str, emit: Callable[..., None], *details: Any) -> int:
        """Address of a kernel, compiled if it is new to this machine."""
        self._tell(name)
        return self.machine.address(name, partial(_write, emit, details))

    def _tell(self, name: str) -> None:
        if self._on_compile is not None and not self.machine.is_cached(name):
            self._on_compile()
            self._on_compile = None

    def run(self, kernel: int, arguments: Arguments, chunks: int, work: int) -> None:
        """Run all chunks; ``work``: multiply-adds in all of them."""
        crew = self.crew
        run = crew.run if work >= LEAST_SHARED else crew.run_here
        run(kernel, arguments.address, chunks)


class Program:
    """Calls that run one after another in machine code: Python costs a cold cache each time."""

    def __init__(self, runtime: Runtime, jobs: list[Job]) -> None:
        """Of ``jobs``, whose arguments may change from run to run."""
        helpers = runtime.crew.threads - 1
        steps = [
            word
            for job in jobs
            for word in (
                helpers if job.work >= LEAST_SHARED else 0,
                job.chunks,
                job.kernel,
                job.arguments.address,
            )
        ]
        self._runtime, self._jobs, self._steps = runtime, jobs, Arguments(*steps)

    def run(self) -> None:
        """All calls."""
        self._runtime.crew.run_all(self._steps.address, len(self._jobs))


class Steps:
    """The same for calls that are others each time: their arguments lie in one memory."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._words = array("q")
        self._steps: list[tuple[int, int, int, int]] = []

    def add(self, kernel: int, chunks: int, work: int, arguments: Iterable[int]) -> None:
        """A call after those that are here; ``work`` as for `Runtime.run`."""
        helpers = self._runtime.crew.threads - 1 if work >= LEAST_SHARED else 0
        self._steps.append((helpers, chunks, kernel, len(self._words) * self._words.itemsize))
        self._words.extend(arguments)

    def run(self) -> None:
        """All calls."""
        base, _ = self._words.buffer_info()
        steps = array("q")
        for helpers, chunks, kernel, offset in self._steps:
            steps.extend((helpers, chunks, kernel, base + offset))
        self._runtime.crew.run_all(steps.buffer_info()[0], len(self._steps))


def _write(
    emit: Callable[..., None], details: tuple[Any, ...], module: Any, name: str, lanes: int
) -> None:
    emit(module, name, lanes, *details)
