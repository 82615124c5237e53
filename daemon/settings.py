"""Settings of a cluster: one frozen dataclass per part, with a default for each value.

Which values may stand together is `daemon.settings_check`; reading and writing them as text is
`daemon.settings_text`. Knows neither, nor any process or network; any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from daemon.errors import SettingsError

MIB = 1024 * 1024
API_PORT = 8100
DATA_PORT = 50100
CONTROL_PORT = 50200


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


def local_ranks(count: int, data_port: int, control_port: int) -> tuple[RankPart, ...]:
    """``count`` ranks on loopback with consecutive ports."""
    if count < 1:
        raise SettingsError(f"a cluster needs at least 1 rank, not {count}: use --ranks 1 or more")
    return tuple(RankPart("127.0.0.1", data_port + r, control_port + r) for r in range(count))


def url_host(host: str) -> str:
    """``host`` as it stands in an address: IPv6 in brackets, the wildcard as loopback."""
    if host in {"0.0.0.0", "::", ""}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
