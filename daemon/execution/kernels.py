"""Decides whether a model's modules get the CPU kernels.

The kernels themselves are in `daemon.execution.cpu`, which is imported only where they can be of
use: MLX's default device is the CPU, on Linux. Engine thread.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from typing import TYPE_CHECKING

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlx import nn

log = logging.getLogger(__name__)


def install(
    model: nn.Module, threads: int = 1, on_compile: Callable[[], None] = lambda: None
) -> int:
    """Give ``model``, whose weights are loaded, its kernels; how many modules got one.

    Args:
        model: a whole one or a stage's.
        threads: that compute together.
        on_compile: called once before code is built that no earlier start left on disk; that
            takes seconds.
    """
    if not usable():
        return 0
    from daemon.execution.cpu.install import install_all  # noqa: PLC0415 - see above
    from daemon.execution.cpu.runtime import Runtime  # noqa: PLC0415

    return install_all(model, Runtime(threads, on_compile=on_compile))


def warm_up() -> None:
    """Import what `install` needs, so that it takes no time when it matters."""
    if usable():
        importlib.import_module("daemon.execution.cpu.install")
        importlib.import_module("daemon.execution.cpu.runtime")


def usable() -> bool:
    """Whether kernels can run here and are worth it."""
    if sys.platform != "linux" or mx.default_device().type != mx.DeviceType.cpu:
        return False
    if importlib.util.find_spec("llvmlite") is None:
        log.warning("no_cpu_kernels", extra={"fields": {"missing": "llvmlite"}})
        return False
    from daemon.execution.cpu.machine import machine  # noqa: PLC0415 - see above

    return machine().has_fma
