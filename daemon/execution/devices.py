"""What machines are known to offer: memory bandwidth and compute by name. Pure; any thread.

Makers' figures, which nobody reaches: `BANDWIDTH_SHARE` and `COMPUTE_SHARE` say how much of them
decoding and large batches get. Of a kind that was sold in several widths, the widest is listed.
"""

from __future__ import annotations

from dataclasses import dataclass

GB = 1e9
GIB = 1 << 30
BANDWIDTH_SHARE = 0.8
"""Of the memory bandwidth: what decoding with mlx-lm reaches on Apple's machines."""
COMPUTE_SHARE = 0.5
"""Of the peak of the GPU, for matrices of many rows."""
SMALL_MEMORY_GIB = 36
"""Machines below this let the GPU have two thirds of their memory, others three quarters."""


@dataclass(frozen=True)
class Kind:
    """One kind of machine."""

    bandwidth_gb_s: float
    tflops: float
    """Of its GPU, float16; 0 if not known."""


KINDS: dict[str, Kind] = {
    "M1": Kind(68, 2.6),
    "M1 Pro": Kind(200, 5.2),
    "M1 Max": Kind(400, 10.4),
    "M1 Ultra": Kind(800, 20.8),
    "M2": Kind(100, 3.6),
    "M2 Pro": Kind(200, 6.8),
    "M2 Max": Kind(400, 13.6),
    "M2 Ultra": Kind(800, 27.2),
    "M3": Kind(100, 3.5),
    "M3 Pro": Kind(150, 6.4),
    "M3 Max": Kind(400, 14.2),
    "M3 Ultra": Kind(819, 28.4),
    "M4": Kind(120, 4.3),
    "M4 Pro": Kind(273, 9.2),
    "M4 Max": Kind(546, 18.4),
}


def bandwidth_of(device_name: str) -> float:
    """GB/s of the machine that calls itself so ("Apple M4 Pro"); 0 if it is not known."""
    kind = KINDS.get(device_name.removeprefix("Apple ").strip())
    return kind.bandwidth_gb_s if kind else 0.0


def usable_bytes(memory_gib: float) -> int:
    """What macOS lets the GPU have of a machine's memory, unless it is told otherwise."""
    share = 2 / 3 if memory_gib < SMALL_MEMORY_GIB else 3 / 4
    return int(memory_gib * GIB * share)
