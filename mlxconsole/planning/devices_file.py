"""Reads a devices.toml: which machines a cluster is to have. Pure but for the file; any thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from daemon.execution.devices import (
    BANDWIDTH_SHARE,
    COMPUTE_SHARE,
    GB,
    GIB,
    KINDS,
    usable_bytes,
)
from daemon.execution.placement import Device
from daemon.execution.prediction import HOP_S
from daemon.settings_file import read_section, read_toml

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings_file import Source

OTHER = "other"
MOST_DEVICES = 64


@dataclass(frozen=True)
class DevicesTable:
    """`[[devices]]`: machines of one kind, in rank order."""

    kind: str = OTHER
    """A known one, which brings its bandwidth; "other" for the rest of the world."""
    name: str = ""
    """Shown in the table; the kind if not given."""
    count: int = 1
    memory_gib: float = 0.0
    """That is built in."""
    usable_gib: float = 0.0
    """That weights and context may use; 0: what macOS allows, or on other machines all of it."""
    bandwidth_gb_s: float = 0.0
    """Of the memory, as the maker says; 0: that of the kind."""
    tflops: float = 0.0
    """Float16 peak; 0: that of the kind, or no limit."""


@dataclass(frozen=True)
class NetworkTable:
    """`[network]`: what lies between the machines."""

    hop_ms: float = HOP_S * 1e3
    """From one rank's result to the next rank's start."""


@dataclass(frozen=True)
class NamedDevice:
    """One rank's machine."""

    name: str
    device: Device


@dataclass(frozen=True)
class Machines:
    """All of a file."""

    devices: tuple[NamedDevice, ...]
    hop_s: float


def read_devices(path: Path) -> Machines:
    """One entry per rank.

    Raises:
        SettingsError: names file, line and key.
    """
    data, source = read_toml(path)
    unknown = sorted(set(data) - {"devices", "network"})
    if unknown:
        raise SettingsError(
            f"{source.where(unknown[0])}: unknown section or key '{unknown[0]}' "
            "(known: devices, network)"
        )
    tables = data.get("devices")
    if not isinstance(tables, list) or not tables:
        raise SettingsError(
            f"{source.where('devices')}: no [[devices]] tables: write one per kind of machine, "
            'such as kind = "M4 Pro", memory_gib = 48, count = 2'
        )
    network = read_section(NetworkTable, data.get("network", {}), source, "network")
    if network.hop_ms < 0:
        raise SettingsError(f"{source.where('network', 'hop_ms')}: network.hop_ms is below 0")
    devices: list[NamedDevice] = []
    for index, table in enumerate(tables):
        part = read_section(DevicesTable, table, source, "devices", index)
        devices += [_device(part, source, index)] * part.count
    if len(devices) > MOST_DEVICES:
        raise SettingsError(f"{source.name}: {len(devices)} devices; at most {MOST_DEVICES}")
    return Machines(tuple(devices), network.hop_ms / 1e3)


def _device(part: DevicesTable, source: Source, index: int) -> NamedDevice:
    def wrong(key: str, text: str) -> SettingsError:
        return SettingsError(f"{source.where('devices', key, index)}: devices.{key} {text}")

    kind = KINDS.get(part.kind)
    if kind is None and part.kind != OTHER:
        raise wrong("kind", f"is no known kind: '{part.kind}' (known: {', '.join(KINDS)}, {OTHER})")
    for key in ("memory_gib", "usable_gib", "bandwidth_gb_s", "tflops"):
        if getattr(part, key) < 0:
            raise wrong(key, "is below 0")
    if part.count < 1:
        raise wrong("count", f"is {part.count}: at least 1")
    if not (part.memory_gib or part.usable_gib):
        raise wrong("memory_gib", "is missing: how much memory does it have?")
    bandwidth = part.bandwidth_gb_s or (kind.bandwidth_gb_s if kind else 0.0)
    if not bandwidth:
        raise wrong("bandwidth_gb_s", f'is missing: kind = "{OTHER}" does not tell it')
    allowed = usable_bytes(part.memory_gib) if kind else int(part.memory_gib * GIB)
    tflops = part.tflops or (kind.tflops if kind else 0.0)
    device = Device(
        int(part.usable_gib * GIB) or allowed,
        bandwidth * GB * BANDWIDTH_SHARE,
        tflops * 1e12 * COMPUTE_SHARE,
    )
    return NamedDevice(part.name or part.kind, device)
