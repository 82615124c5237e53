"""The rules that hold between the settings of a cluster, and where its parts listen.

Refuses before anything starts what types can't tell: values, ports that collide, addresses that
others reach. Opens no socket and reads no text; any thread.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING, NoReturn

from daemon.errors import SettingsError
from daemon.settings import CONTROL_PORT, DATA_PORT
from daemon.settings_file import NOWHERE, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.settings import EnginePart, Settings

CPU_KERNELS = ("auto", "off")
MAY_BE_ZERO = frozenset({"threads", "prefix_cache_bytes", "kv_bytes", "kv_bits"})


def check(settings: Settings, source: Source = NOWHERE) -> Settings:
    """Fill in default ports and check what types can't tell; the settings, completed.

    Raises:
        SettingsError: says which values can't be, and where in ``source`` they stand.
    """
    if not settings.ranks:
        raise SettingsError("a cluster needs at least 1 rank: add a [[ranks]] table")
    ranks = tuple(
        dataclasses.replace(
            part,
            port=part.port or DATA_PORT + r,
            control_port=part.control_port or CONTROL_PORT + r,
        )
        for r, part in enumerate(settings.ranks)
    )
    settings = dataclasses.replace(settings, ranks=ranks)
    _check_ports(settings, source)
    _check_values(settings, source)
    _check_exposure(settings, source)
    return settings


def listening(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """Every (owner, host, port) on which something of the cluster listens."""
    yield "api.port", settings.api.host, settings.api.port
    for r, part in enumerate(settings.ranks):
        yield f"rank {r} port", part.host, part.port
        yield f"rank {r} control_port", part.host, part.control_port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_ports(settings: Settings, source: Source) -> None:
    owners: dict[tuple[str, int], str] = {}
    for name, host, port in listening(settings):
        if not 0 < port < 65536:
            raise SettingsError(f"{source.at(name)}{name} is {port}: ports go from 1 to 65535")
        owner = owners.setdefault((host, port), name)
        if owner != name:
            raise SettingsError(
                f"{source.at(name)}{name} and {owner} are both {host}:{port}: choose another port"
            )


def _check_values(settings: Settings, source: Source) -> None:
    def refuse(name: str, value: str | float, rule: str) -> NoReturn:
        raise SettingsError(f"{source.at(name)}{name} is {value}: {rule}")

    for section in ("api", "engine", "limits"):
        part = getattr(settings, section)
        for item in dataclasses.fields(part):
            value = getattr(part, item.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and value <= 0 and item.name not in MAY_BE_ZERO:
                refuse(f"{section}.{item.name}", value, "it must be over 0")
    for rank, part in enumerate(settings.ranks):
        for name in ("memory_gib", "bandwidth_gb_s"):
            if getattr(part, name) < 0:
                refuse(f"rank {rank} {name}", getattr(part, name), "not below 0")
    _check_engine(settings.engine, refuse)


def _check_engine(engine: EnginePart, refuse: Callable[[str, str | float, str], NoReturn]) -> None:
    if engine.kv_bits not in {0, 8}:
        refuse("engine.kv_bits", engine.kv_bits, "it must be 0 or 8")
    if engine.threads < 0:
        refuse("engine.threads", engine.threads, "0 shares the cores, or a number")
    if engine.cpu_kernels not in CPU_KERNELS:
        known = " or ".join(CPU_KERNELS)
        refuse("engine.cpu_kernels", f'"{engine.cpu_kernels}"', f"it must be {known}")


def _check_exposure(settings: Settings, source: Source) -> None:
    if settings.cluster.insecure:
        return
    for name, host, _ in listening(settings):
        if not is_loopback(host):
            raise SettingsError(
                f"{source.at(name)}{name} listens on {host}, which is not loopback, and there is "
                "no TLS yet: anyone who reaches it could run the cluster; set insecure = true "
                "under [cluster] on a network that you trust"
            )
