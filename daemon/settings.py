"""Settings of a cluster: one frozen dataclass per part, and the rules that hold between them.

How TOML and environment text becomes these is `daemon.settings_file`. Knows no process and no
network; any thread.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from daemon.errors import SettingsError
from daemon.settings_file import (
    NOWHERE,
    Source,
    check_variables,
    environment_changes,
    read_section,
    read_toml,
    variable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MIB = 1024 * 1024
API_PORT = 8100
DATA_PORT = 50100
CONTROL_PORT = 50200
CPU_KERNELS = ("auto", "off")
OTHER_VARIABLES = frozenset(
    f"MLXCONSOLE_{name}"
    for name in ("ALERTS", "API_KEY", "ASCII", "OPERATOR_TOKEN", "OPERATOR_TOKEN_FILE", "SNAPSHOTS")
)
"""Of the environment, ours, and no settings of a cluster."""
MAY_BE_ZERO = frozenset({"threads", "pin", "prefix_cache_bytes", "kv_bytes", "kv_bits"})


@dataclass(frozen=True)
class ClusterPart:
    """`[cluster]`: what is served."""

    name: str = "local"
    """Shown in the console; ranks of clusters with different names refuse each other."""
    model: str = "demo"
    """`demo` (embedded), a folder, or a hub id such as mlx-community/Qwen3-1.7B-8bit."""
    insecure: bool = False
    """Allow ranks on addresses other than loopback without TLS."""


@dataclass(frozen=True)
class ApiPart:
    """`[api]`: the OpenAI endpoint beside rank 0."""

    host: str = "127.0.0.1"
    port: int = API_PORT
    max_body_bytes: int = 8 * MIB
    """A larger request body is refused with 413."""
    key_file: str = ""
    """A file with one API key a line (`#` begins a comment); empty: nobody is asked for a key."""
    cors_origin: str = "loopback"
    """Web pages that may use the endpoint: `loopback`, one origin, `*` all, or empty: none."""


@dataclass(frozen=True)
class EnginePart:
    """`[engine]`: how many requests at once, and in which portions."""

    max_sequences: int = 64
    """Sequences that take part in steps at the same time."""
    max_queue: int = 256
    """Requests that may wait for a place; one more is refused with 429."""
    prefill_chunk: int = 256
    """Prompt tokens in one step, at most; beside running streams a step takes fewer."""
    prefill_cut: int = 64
    """Prompts are cut at multiples of this: one forward each, and one block of the prefix cache."""
    prefix_cache: bool = True
    """Keep the KV of prompts, so that the next one with the same beginning need not run it."""
    prefix_cache_bytes: int = 0
    """Of each rank's memory for KV, at most; 0: a quarter."""
    kv_bytes: int = 0
    """Memory for KV on each rank, of live sequences and prefixes; 0: what weights leave."""
    kv_bits: int = 0
    """8 keeps KV in 8 bits: half the memory, other tokens than with 0, no batching."""
    exact: bool = False
    """Run every sequence alone; else together with others where that is known to change no bit."""
    max_output_tokens: int = 4096
    """Upper bound of an answer that names none; the context is a bound of its own."""
    cpu_kernels: str = "auto"
    """`auto`: our kernels where MLX's default device is a CPU and they cover the case; `off`."""
    threads: int = 0
    """Of a rank that computes on the CPU; 0: the ranks of a host share its cores."""
    pin: bool = False
    """Keep each rank to cores of its own (Linux)."""


@dataclass(frozen=True)
class LimitsPart:
    """`[limits]`: how long to wait for what."""

    join_timeout_s: float = 120.0
    """A rank that has not joined and loaded by then is reported; the others go on waiting."""
    shutdown_grace_s: float = 3.0
    """After SIGTERM, before SIGKILL."""
    restart_backoff_s: float = 0.25
    """Least time between two starts of a worker; doubles with every death before READY."""
    restart_backoff_max_s: float = 10.0
    stable_after_s: float = 30.0
    """A worker that lived this long starts the backoff again."""
    max_quick_deaths: int = 6
    """Workers that died one after another without becoming READY: then the rank is FAILED."""
    warm_spare: bool = True
    """Keep second processes of worker and API waiting, imports done, to take over at once."""
    peer_timeout_s: float = 3.0
    """A link interruption longer than this is the loss of the peer."""
    silence_timeout_s: float = 2.0
    """A worker or API process that is alive and says nothing for this long is replaced."""
    absence_timeout_s: float = 20.0
    """A rank away for this long is done without, if the others have the memory for its layers."""
    recovery_timeout_s: float = 60.0
    """How long requests wait for a lost rank; then they get 503 with the reason."""
    step_timeout_s: float = 60.0
    """A step that has not come back by then counts as stuck."""


@dataclass(frozen=True)
class RankPart:
    """`[[ranks]]`, one table per rank in rank order: where it listens."""

    host: str = "127.0.0.1"
    port: int = 0
    """Data port; 0 means 50100 + rank."""
    control_port: int = 0
    """Control port; 0 means 50200 + rank."""
    memory_gib: float = 0.0
    """What this rank may use for weights and context; 0 means what its device allows."""
    bandwidth_gb_s: float = 0.0
    """Memory bandwidth, which decides the rank's share of the layers; 0 means what is known of its
    device. If one rank's is not known, all ranks count as equally fast."""


@dataclass(frozen=True)
class Settings:
    """Everything that the ranks of one cluster share."""

    cluster: ClusterPart = field(default_factory=ClusterPart)
    api: ApiPart = field(default_factory=ApiPart)
    engine: EnginePart = field(default_factory=EnginePart)
    limits: LimitsPart = field(default_factory=LimitsPart)
    ranks: tuple[RankPart, ...] = (RankPart(),)

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return len(self.ranks)

    @property
    def api_url(self) -> str:
        """Base URL of the OpenAI endpoint, without /v1."""
        return f"http://{url_host(self.api.host)}:{self.api.port}"

    def to_json(self) -> str:
        """One line that `from_json` reads: how a supervisor hands its settings to a child."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Settings:
        """Read what `to_json` wrote."""
        source = Source("settings passed by the supervisor", "")
        return check(_build(json.loads(text), source), source)


_PARTS: dict[str, type[Any]] = {
    "cluster": ClusterPart,
    "api": ApiPart,
    "engine": EnginePart,
    "limits": LimitsPart,
}


def load(path: Path | None, environ: Mapping[str, str], **overrides: Any) -> Settings:
    """Settings from a file (or the defaults), then `MLXCONSOLE_*`, then ``overrides``.

    Args:
        path: a cluster.toml, or None for the defaults with one rank.
        environ: the process environment; `MLXCONSOLE_<SECTION>_<KEY>` sets one key.
        overrides: ``section_key`` values from flags; None means not given. ``ranks`` is a tuple
            of `RankPart`.

    Raises:
        SettingsError: names file, line and key.
    """
    settings = parse(path) if path else Settings()
    names = [variable(name, key) for name, part in _PARTS.items() for key in _keys(part)]
    check_variables(environ, names, OTHER_VARIABLES)
    for section, part in _PARTS.items():
        changes = environment_changes(environ, section, part)
        given = {
            key: overrides.pop(f"{section}_{key}", None)
            for key in _keys(part)
            if f"{section}_{key}" in overrides
        }
        changes |= {key: value for key, value in given.items() if value is not None}
        if changes:
            new = dataclasses.replace(getattr(settings, section), **changes)
            settings = dataclasses.replace(settings, **{section: new})
    ranks = overrides.pop("ranks", None)
    if ranks is not None:
        settings = dataclasses.replace(settings, ranks=tuple(ranks))
    if overrides:
        raise SettingsError(f"no such setting: {', '.join(sorted(overrides))}")
    return check(settings)


def local_ranks(count: int, data_port: int, control_port: int) -> tuple[RankPart, ...]:
    """``count`` ranks on loopback with consecutive ports."""
    if count < 1:
        raise SettingsError(f"a cluster needs at least 1 rank, not {count}: use --ranks 1 or more")
    return tuple(RankPart("127.0.0.1", data_port + r, control_port + r) for r in range(count))


def parse(path: Path) -> Settings:
    """Read a cluster.toml; the environment is not looked at.

    Raises:
        SettingsError: the file can't be read, is no TOML, or holds a wrong key or value.
    """
    data, source = read_toml(path)
    return check(_build(data, source), source)


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


def url_host(host: str) -> str:
    """``host`` as it stands in an address: IPv6 in brackets, the wildcard as loopback."""
    if host in {"0.0.0.0", "::", ""}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def to_toml(settings: Settings) -> str:
    """A cluster.toml with every value, for the state folder and as a sample."""
    lines: list[str] = []
    for section in _PARTS:
        lines.append(f"[{section}]")
        part = getattr(settings, section)
        lines += [
            f"{f.name} = {json.dumps(getattr(part, f.name))}" for f in dataclasses.fields(part)
        ]
        lines.append("")
    for part in settings.ranks:
        lines.append("[[ranks]]")
        lines += [
            f"{f.name} = {json.dumps(getattr(part, f.name))}" for f in dataclasses.fields(part)
        ]
        lines.append("")
    return "\n".join(lines)


def _keys(part: type[Any]) -> list[str]:
    return [item.name for item in dataclasses.fields(part)]


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


def _build(data: dict[str, Any], source: Source) -> Settings:
    unknown = sorted(set(data) - set(_PARTS) - {"ranks"})
    if unknown:
        known = ", ".join([*_PARTS, "ranks"])
        raise SettingsError(
            f"{source.where(unknown[0])}: unknown section or key '{unknown[0]}' (known: {known})"
        )
    parts = {
        name: read_section(part, data.get(name, {}), source, name) for name, part in _PARTS.items()
    }
    tables = data.get("ranks", [{}])
    if not isinstance(tables, list):
        raise SettingsError(
            f"{source.where('ranks')}: ranks must be [[ranks]] tables, one per rank"
        )
    ranks = tuple(read_section(RankPart, t, source, "ranks", i) for i, t in enumerate(tables))
    return Settings(**parts, ranks=ranks)
