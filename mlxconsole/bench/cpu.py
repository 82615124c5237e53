"""The `cpu` suite: one core on our kernels, beside what its memory allows.

The measuring, and MLX with it, is in a process of its own.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

from daemon.errors import StartFailed
from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task

TIMEOUT_S = 900.0
ONE_STREAM = "one stream"


def measure_suite(task: Task) -> list[Figure]:
    """Figures of one thread; a quick run leaves the long contexts out."""
    if platform.system() == "Darwin":
        task.miss("cpu: our kernels serve the CPU of Linux; here MLX computes on Metal")
        return []
    model = task.model or str(bench_model(task.folder / "cpu-model"))
    command = [sys.executable, "-m", "daemon.execution.cpu.bench", "--model", model, "--json"]
    command += ["--short"] if task.quick else []
    task.tell(f"cpu: {'the short contexts' if task.quick else 'all contexts'} on one thread")
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True)
    except subprocess.TimeoutExpired as error:
        raise StartFailed(f"not done after {TIMEOUT_S:g} s") from error
    except subprocess.CalledProcessError as error:
        raise StartFailed("the measuring process failed: see above") from error
    return figures(json.loads(done.stdout))


def figures(found: dict[str, float]) -> list[Figure]:
    """What `daemon.execution.cpu.bench` printed, each beside its limit or goal."""
    one = found["decode_tok_s"]
    limit = found["read_gb_s"] / found["weights_gb"] if found["weights_gb"] else None
    made = [Figure("cpu", "decode, 1 stream", one, "tok/s", "more", limit, "memory limit")]
    for name, value in found.items():
        first, _, rest = name.partition("_")
        number = rest.partition("_")[0]
        if name.endswith("_tok_s") and first == "streams":
            made.append(Figure("cpu", f"{number} streams", value, "tok/s", "more", one, ONE_STREAM))
        elif first == "prefill":
            made.append(Figure("cpu", f"prefill of {number} tokens", value, "tok/s", "more"))
        elif name.startswith("decode_at_") and name.endswith("_tok_s"):
            behind = rest.split("_")[1]
            title = f"decode behind {behind} tokens"
            made.append(Figure("cpu", title, value, "tok/s", "more", one, "behind 128"))
    made.append(Figure("cpu", "reading memory", found["read_gb_s"], "GB/s", "more"))
    return made
