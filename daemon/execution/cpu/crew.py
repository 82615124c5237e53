"""Runs kernels on this thread and on helpers that sleep when there is nothing to do.

One crew per engine thread: calls must not overlap. The helpers are threads that stay inside machine
code, so they never need the interpreter.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import TYPE_CHECKING

from daemon.execution.cpu.crew_ir import JOB_WORDS, START, STOP, emit_crew

if TYPE_CHECKING:
    from daemon.execution.cpu.machine import Machine

_INT = ctypes.c_int64
_POINTER = ctypes.c_void_p


class Crew:
    """``threads`` threads, this one among them."""

    def __init__(self, machine: Machine, threads: int = 1) -> None:
        self.threads = threads
        self._job = (_INT * JOB_WORDS)()
        job = ctypes.addressof(self._job)
        names = ("crew", "crew_prepare", "crew_helper", "crew_program")
        run, prepare, helper, program = machine.addresses("crew", names, emit_crew)
        self._run = ctypes.CFUNCTYPE(None, _POINTER, _INT, _INT, _POINTER, _POINTER)(run)
        self._program = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _INT)(program)
        self._address = job
        self._helpers = threads - 1
        ctypes.CFUNCTYPE(None, _POINTER)(prepare)(job)
        stay = ctypes.CFUNCTYPE(None, _POINTER)(helper)
        for number in range(1, threads):
            # The job block and the code must outlive the helper, so the thread holds them.
            threading.Thread(
                target=_help, args=(stay, self._job, machine), name=f"kernels-{number}", daemon=True
            ).start()
        if threads > 1:
            self._finalizer = weakref.finalize(self, _stop, self._job, threads - 1)

    def run(self, kernel: int, arguments: int, chunks: int) -> None:
        """Call ``kernel(arguments, c)`` for c in range(chunks), in any order."""
        self._run(self._address, self._helpers, chunks, kernel, arguments)

    def run_here(self, kernel: int, arguments: int, chunks: int) -> None:
        """The same on this thread alone, for work too small to wake anybody."""
        self._run(self._address, 0, chunks, kernel, arguments)

    def run_all(self, steps: int, count: int) -> None:
        """Run ``count`` steps at an address one after another, see `crew_ir.STEP_WORDS`."""
        self._program(self._address, steps, count)


def _help(stay: object, job: ctypes.Array[_INT], machine: Machine) -> None:
    del machine  # held by the thread until this returns
    stay(ctypes.addressof(job))  # pyright: ignore[reportCallIssue] - a ctypes function


def _stop(job: ctypes.Array[_INT], helpers: int) -> None:
    job[STOP] = 1
    post = ctypes.CDLL(None).sem_post
    post.argtypes = [_POINTER]
    for _ in range(helpers):
        post(ctypes.addressof(job) + START * 8)
