"""Settings of a `Communicator`: plain values, read from no file and no environment."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Mutual TLS: each end shows a certificate of the cluster's own CA."""

    ca: bytes
    """PEM."""
    certificate: bytes
    """PEM, with the chain."""
    key: bytes
    """PEM."""
    server_name: str = ""
    """Name to expect in a peer's certificate, if not its host."""


@dataclass(frozen=True, slots=True)
class CommSettings:
    """One rank's view of the world."""

    rank: int
    addresses: tuple[tuple[str, int], ...]
    """(host, data port) of every rank, in rank order; its length is the world size."""
    cluster: str = "local"
    """Ranks of clusters with different names refuse each other."""
    epoch: int = 0
    """Ranks with different ones refuse each other; 0 for who has no epochs."""
    boot_id: str = ""
    """Names this process; a peer that sees another one knows that the rank restarted.
    Empty: made at random."""
    peer_timeout_s: float = 3.0
    """No contact for longer than this is the loss of the peer."""
    heartbeat_s: float = 0.5
    """An idle link says something this often."""
    silence_s: float = 1.75
    """A link that says nothing for this long counts as interrupted, though TCP is well."""
    default_timeout_s: float = 30.0
    """Of calls that name none."""
    max_message_bytes: int = 4096 * MIB
    """A larger message is refused, by the sender if it has the same limit."""
    bulk_bytes: int = 256 * 1024
    """Messages from this size on travel in chunks over a channel of their own."""
    mailbox_bytes: int = 64 * MIB
    """Received and not yet taken; over it, the peer is held back."""
    tls: TlsSettings | None = None

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return len(self.addresses)
