"""A small real child: speaks the pipe protocol as worker and API process do, without their work.

Its behaviour is the first argument, a word: see `BEHAVIOURS`. `--spec JSON` follows, as for all
children.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from daemon.supervision.child_spec import EXIT_HOPELESS, SPARE_FLAG, ChildSpec
from daemon.telemetry import lifeline
from daemon.telemetry.reporter import Reporter, install_logging

if TYPE_CHECKING:
    from collections.abc import Callable


def become_ready(spec: ChildSpec, reporter: Reporter) -> None:
    """Report what a worker reports until it is READY."""
    sys.stdout.write("hello from stdout\n")
    sys.stderr.write("hello from stderr\n")
    reporter.log("INFO", "hello", generation=spec.generation)
    reporter.state("JOINING")
    reporter.state("LOADING", progress={"layers_done": 0, "layers_total": 4})
    reporter.sample(
        memory={"mlx_active_bytes": 1000, "weights_bytes": 900},
        counters={"tokens_out": 5, "steps": 2},
        layers=(0, 4),
        progress={"layers_done": 4, "layers_total": 4},
        epoch=1,
        queue_depth=0,
        sequences=0,
    )
    reporter.event("epoch", "epoch 1")
    reporter.state("READY")


def obey(spec: ChildSpec, reporter: Reporter) -> None:
    """Become ready and leave in order when told to."""
    # No threading.Event: the signal may come while this thread holds the lock inside it.
    told: queue.SimpleQueue[None] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: told.put(None))
    become_ready(spec, reporter)
    told.get()
    reporter.close()


def refuse(spec: ChildSpec, reporter: Reporter) -> None:
    """Become ready and ignore SIGTERM; a grandchild does too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
    grandchild = subprocess.Popen([sys.executable, "-c", code])
    reporter.event("grandchild", str(grandchild.pid))
    become_ready(spec, reporter)
    while True:
        time.sleep(60)


def die(spec: ChildSpec, reporter: Reporter) -> None:
    """End with an exception before becoming ready."""
    reporter.state("JOINING")
    reporter.close()
    raise RuntimeError(f"no luck in generation {spec.generation}")


def hopeless(spec: ChildSpec, reporter: Reporter) -> None:
    """End as a worker whose model is none."""
    del spec
    reporter.state("FAILED", "model folder /nowhere is no model")
    reporter.close()
    sys.exit(EXIT_HOPELESS)


def silent(spec: ChildSpec, reporter: Reporter) -> None:
    """Report nothing at all, as during slow imports."""
    del spec, reporter
    while True:
        time.sleep(60)


def babble(spec: ChildSpec, reporter: Reporter) -> None:
    """Write nonsense to the report pipe, then become ready."""
    os.write(spec.report_fd, b'nonsense\n{"kind": "state", "state": "FLYING"}\n[1]\n')
    os.write(spec.report_fd, b'{"kind": "sample", "memory": {"kv_bytes": -1}}\n')
    sys.stdout.write("\x1b[31mred\x1b[0m\n")
    obey(spec, reporter)


def gone_while_loading(spec: ChildSpec, reporter: Reporter) -> None:
    """Die in the first generation, obey in the next."""
    if spec.generation == 1:
        die(spec, reporter)
    obey(spec, reporter)


BEHAVIOURS: dict[str, Callable[[ChildSpec, Reporter], None]] = {
    "obey": obey,
    "obey_spare": obey,
    "die_spare": obey,
    "refuse": refuse,
    "die": die,
    "hopeless": hopeless,
    "silent": silent,
    "babble": babble,
    "gone_while_loading": gone_while_loading,
}


def main() -> None:
    """Behave as told."""
    behaviour, *flags, spec_json = sys.argv[1:]
    spec = ChildSpec.from_json(spec_json)
    lifeline.watch(spec.life_fd)
    if SPARE_FLAG in flags:
        if behaviour == "die_spare":
            sys.exit("no spare today")
        line = sys.stdin.readline()
        if not line:
            return
        spec = ChildSpec.from_json(line)
    reporter = Reporter(spec.report_fd, spec.boot_id)
    install_logging(reporter, spec.log_level)
    BEHAVIOURS[behaviour](spec, reporter)


if __name__ == "__main__":
    main()
