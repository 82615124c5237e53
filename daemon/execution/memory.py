"""What MLX says about memory. Any thread."""

from __future__ import annotations

import os

import mlx.core as mx


def memory() -> dict[str, int]:
    """Bytes by the field names of the protocol's `Memory`."""
    return {
        "mlx_active_bytes": mx.get_active_memory(),
        "mlx_cache_bytes": mx.get_cache_memory(),
        "mlx_peak_bytes": mx.get_peak_memory(),
    }


def device_name() -> str:
    """What the default device calls itself, such as "Apple M4 Pro"."""
    return str(mx.device_info().get("device_name", ""))


def limit_bytes() -> int:
    """What the default device may use: the GPU's recommended working set, else the machine's."""
    recommended = mx.device_info().get("max_recommended_working_set_size")
    if isinstance(recommended, int) and recommended > 0:
        return recommended
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
