"""Runs one child (the worker, or the API process) through its life.

Carries out what `child_life.advance` decides and tells it what happens. Runs on the supervisor's
event loop; knows no gRPC. Every change is an event in the history, so that people can follow it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
import uuid
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from daemon.errors import NotReady
from daemon.supervision import child_life, child_process, reports
from daemon.supervision.child_life import ChildLife, LifeEvent
from daemon.supervision.child_spec import EXIT_HOPELESS, SPARE_FLAG
from daemon.supervision.comeback import Comeback
from daemon.supervision.exit_cause import Evidence, describe
from daemon.supervision.history import clean
from daemon.supervision.silence import LOOK_S, Silence
from daemon.supervision.spare import Spare
from daemon.telemetry import process_stats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.settings import Settings
    from daemon.supervision.child_process import ChildProcess
    from daemon.supervision.child_spec import ChildSpec
    from daemon.supervision.history import History

log = logging.getLogger(__name__)

_STDERR_LINES = 20
_ORDERLY = {0, -signal.SIGTERM}
"""Return codes of a process that obeys an order to leave; the signal's own before our handler."""
_NORMAL_STATES = {"JOINING", "LOADING", "READY", "DRAINING"}


class Child:
    """A child process and its successors."""

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        spec: ChildSpec,
        environment: Mapping[str, str],
        history: History,
        tasks: asyncio.TaskGroup,
        *,
        spare: bool = False,
    ) -> None:
        """Prepare; `start` starts.

        Args:
            name: "worker" or "api", for people.
            command: the program; ``--spec JSON`` is appended.
            spec: a pattern for the specs; generation, boot_id and descriptors are filled in.
            environment: of the processes.
            history: takes log lines and events.
            tasks: a failure in our own code ends the supervisor through it, children first.
            spare: keep a process ready to follow; the program must know `--spare`.
        """
        self.name = name
        self.life = ChildLife(_policy(spec.settings))
        self.boot_id = ""
        self.reason = ""
        """Why the process is in its state, in its own words."""
        self._ended = asyncio.Event()
        self.on_sample: Callable[[reports.SampleReport], None] = lambda _: None
        self.on_answer: Callable[[reports.AnswerReport], None] = lambda _: None
        self.on_start: Callable[[], None] = lambda: None
        self.on_exit: Callable[[], None] = lambda: None
        self._command = command
        self._spec = spec
        self._environment = environment
        self._history = history
        self._tasks = tasks
        self._process: ChildProcess | None = None
        self._following: asyncio.Task[None] | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failure_reason = ""
        self._killed_by_us = self._killed_at_once = False
        self._silence = Silence(spec.settings.limits.silence_timeout_s)
        self._stuck = ""
        self._comeback: Comeback | None = None
        self._oom_kills_before = 0
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self.rss_bytes = 0
        """Resident set of the process as last measured."""
        self._spare = Spare(self._spare_command, environment) if spare else None

    @property
    def pid(self) -> int:
        """Process id; 0 without a process."""
        return self._process.pid if self._process else 0

    @property
    def uptime_s(self) -> float:
        """Age of the process; 0 without one."""
        return time.monotonic() - self.life.started_s if self._process else 0.0

    def start(self) -> None:
        """Start the first process."""
        self._apply(child_life.Start())

    def restart(self, reason: str, grace_s: float) -> None:
        """End the process in order and start another; one that waits starts at once."""
        self._apply(child_life.RestartAsked(reason, grace_s))

    def stop(self, grace_s: float) -> None:
        """End the process for good: SIGTERM, and SIGKILL after ``grace_s`` (at once if 0)."""
        self._drop_spare()
        self._apply(child_life.StopAsked(grace_s))

    async def wait_ended(self, timeout_s: float) -> None:
        """Wait until there is no process and will be none.

        A process that does not end (a kernel can be stuck in one) is left behind, with an error
        in the log.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            self._history.log("ERROR", "supervisor", "child_unkillable", {"child": self.name})
            if self._following is not None:
                self._following.cancel()

    def abandon(self) -> None:
        """Kill the process without asking what follows: the supervisor itself is failing.

        Its following task does so too, unless it was cancelled before its first step.
        """
        self._drop_spare()
        if self._process is not None:
            self._process.close()

    def command(self, line: Mapping[str, object]) -> None:
        """Tell the process to do something.

        Raises:
            NotReady: there is none, or it does not listen.
        """
        text = json.dumps(line).encode() + b"\n"
        if self._process is None or not self._process.command(text):
            raise NotReady(f"the {self.name} does not take commands: it is {self.life.state}")

    def measure(self) -> None:
        """Look at the process from outside."""
        self.rss_bytes = (process_stats.rss_bytes(self.pid) if self.pid else 0) or self.rss_bytes

    def _apply(self, event: LifeEvent) -> None:
        before = self.life.state
        self.life, decisions = child_life.advance(self.life, event, time.monotonic())
        for decision in decisions:
            self._carry_out(decision)
        if self.life.state != before and self.life.state in _NORMAL_STATES:
            self._history.event("state", f"{self.name} is {self.life.state}")
            self._reached(self.life.state)

    def _reached(self, state: str) -> None:
        if self._comeback is not None:
            self._comeback.reached(state, time.monotonic())
        if state == "READY":
            if self._comeback is not None:
                text = f"{self.name} {self.life.generation} is READY {self._comeback.describe()}"
                self._history.event("recovered", text)
                self._comeback = None
            if self._spare is not None:
                self._spare.prepare_soon()

    def _carry_out(self, decision: child_life.Decision) -> None:
        match decision:
            case child_life.Spawn(generation):
                self._spawn(generation)
            case child_life.Wait(delay_s, generation):
                self._history.event("wait", f"{self.name} starts again in {delay_s:.2f} s")
                self._after("delay", delay_s, child_life.DelayOver(generation))
            case child_life.Terminate(grace_s, generation):
                self._signal(signal.SIGTERM)
                self._after("grace", grace_s, child_life.GraceOver(generation))
            case child_life.Kill(ordered):
                self._killed_by_us, self._killed_at_once = True, ordered
                self._signal(signal.SIGKILL)
            case child_life.GiveUp(cause):
                self._comeback = None
                if self._spare is not None:
                    self._spare.close()
                self._history.event("failed", f"{self.name} will not be started again: {cause}")
            case child_life.End():
                self._ended.set()

    def _after(self, name: str, delay_s: float, event: LifeEvent) -> None:
        loop = asyncio.get_running_loop()
        due = self._timers.get(name)
        if due is not None and not due.cancelled() and due.when() > loop.time():
            # A grace that was given before may be shorter: the earlier one counts.
            delay_s = min(delay_s, due.when() - loop.time())
            due.cancel()
        self._timers[name] = loop.call_later(delay_s, self._apply, event)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.signal_group(number)

    def _spawn(self, generation: int) -> None:
        boot_id = uuid.uuid4().hex
        self._forget_last()

        def spec_for(report_fd: int, life_fd: int) -> str:
            fds = {"report_fd": report_fd, "life_fd": life_fd}
            return replace(self._spec, generation=generation, boot_id=boot_id, **fds).to_json()

        try:
            warm = self._spare.take(spec_for) if self._spare is not None else None
            process = warm or child_process.spawn(
                lambda *fds: [*self._command, "--spec", spec_for(*fds)], self._environment
            )
        except OSError as error:
            cause = f"can't start {self._command[0]}: {error.strerror or error}"
            self._history.event("exit", f"{self.name}: {cause}")
            self._apply(child_life.SpawnFailed(cause))
            return
        self._process = process
        self.boot_id = boot_id
        how = "took over from its spare" if warm else "started"
        self._history.event("start", f"{self.name} {generation} {how}, pid {process.pid}")
        if self._comeback is not None:
            self._comeback.reached("STARTED", time.monotonic())
        self.on_start()
        self._following = self._tasks.create_task(self._follow(process))

    def _spare_command(self, report_fd: int, life_fd: int) -> list[str]:
        spec = replace(self._spec, report_fd=report_fd, life_fd=life_fd)
        return [*self._command, SPARE_FLAG, "--spec", spec.to_json()]

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _forget_last(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._stderr.clear()
        self._failure_reason = self.reason = ""
        self._killed_by_us = self._killed_at_once = False
        self._stuck = ""
        self._silence = Silence(self._spec.settings.limits.silence_timeout_s)
        self.rss_bytes = 0
        self._oom_kills_before = process_stats.kernel_oom_kills()

    async def _follow(self, process: ChildProcess) -> None:
        watching = self._tasks.create_task(self._watch(process))
        try:
            return_code = await process.follow(self._on_report, self._on_output)
        finally:
            watching.cancel()
        self._comeback = self._comeback or Comeback(time.monotonic())
        cause = describe(self._evidence(return_code))
        # Who leaves in order, as told to, is no news that anybody must be warned of.
        ordered = self.life.phase is child_life.Phase.STOPPING and return_code in _ORDERLY
        kind = "left" if ordered else "exit"
        self._history.event(kind, f"{self.name} {self.life.generation}: {cause}")
        self._process = None
        self.on_exit()
        self._apply(child_life.Exited(cause, hopeless=return_code == EXIT_HOPELESS))

    async def _watch(self, process: ChildProcess) -> None:
        """Replace a process that lives and says nothing."""
        state = ""
        while not self._silence.look(state):
            await asyncio.sleep(LOOK_S)
            state = process_stats.run_state(process.pid)
        self._stuck = self._silence.describe(state)
        self._history.event("stuck", f"{self.name} {self.life.generation}: {self._stuck}")
        self._apply(child_life.Stuck())

    def _evidence(self, return_code: int) -> Evidence:
        return Evidence(
            return_code=return_code,
            last_stderr_line=self._stderr[-1] if self._stderr else "",
            failure_reason=self._failure_reason,
            killed_by_us=self._killed_by_us,
            killed_at_once=self._killed_at_once,
            stuck=self._stuck,
            kernel_oom_kills=process_stats.kernel_oom_kills() - self._oom_kills_before,
            rss_bytes=self.rss_bytes,
        )

    def _on_output(self, stream: str, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        level = "INFO"
        if stream == "stderr":
            self._stderr.append(text)
            level = "WARNING"
        self._history.log(level, f"{self.name}.{stream}", text)

    def _on_report(self, line: bytes) -> None:
        self._silence.heard()
        try:
            report = reports.parse(line)
        except ValueError as error:
            log.warning("bad_report", extra={"fields": {"child": self.name, "why": str(error)}})
            return
        match report:
            case reports.StateReport():
                self._on_state(report)
            case reports.SampleReport():
                self.on_sample(report)
            case reports.LogReport():
                self._history.log(
                    report.level, self.name, report.event, report.fields, report.time_s
                )
            case reports.EventReport():
                self._history.event(report.kind, report.text, report.time_s)
            case reports.AnswerReport():
                self.on_answer(report)
            case reports.AliveReport():
                pass

    def _on_state(self, report: reports.StateReport) -> None:
        if report.state == "FAILED":
            self._failure_reason = report.reason
            self._history.event("failing", f"{self.name}: {report.reason}")
        self.reason = clean(report.reason)
        self.on_sample(report.sample)
        self._apply(child_life.Reported(report.state))


def _policy(settings: Settings) -> child_life.RestartPolicy:
    limits = settings.limits
    return child_life.RestartPolicy(
        delay_s=limits.restart_backoff_s,
        max_delay_s=limits.restart_backoff_max_s,
        stable_after_s=limits.stable_after_s,
        max_quick_deaths=limits.max_quick_deaths,
    )
