"""One rank's end of all links, and messages handed to listeners: `post`, `listen`, `on_peer`.

Composes server, links, readers and writers. `communicator.Communicator` adds blocking calls.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import grpc

from daemon.comm import mlx_arrays
from daemon.comm.events import Message, PeerEvent
from daemon.comm.grpc_options import open_channel
from daemon.comm.link import BULK, SMALL, Link, State
from daemon.comm.mailbox import Mailbox, Waiter
from daemon.comm.reader import Reader
from daemon.comm.server import Server, is_gone
from daemon.errors import InvalidRank, MessageTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.comm.bulk import Transfer
    from daemon.comm.link_stats import LinkStats
    from daemon.comm.settings import CommSettings
    from daemon.errors import CommError

log = logging.getLogger(__name__)

LINGER_S = 2.0
"""How long `close` waits for peers to take what was sent."""
JOIN_S = 2.0
LEAD_FROM_S = 1.0
"""Receivers with at least so much time read the stream themselves; its end is seen to 0.25 s."""
LANDING_BYTES = 16 * 1024 * 1024
"""MLX arrays from this size on are received in place: one copy of the payload, not two."""


class Endpoint:
    """One rank's end of all links. Every method may be called from any thread."""

    def __init__(
        self, settings: CommSettings, services: Sequence[grpc.GenericRpcHandler[Any, Any]] = ()
    ) -> None:
        """``services`` are served on the data port beside the links."""
        if not 0 <= settings.rank < settings.world_size:
            raise InvalidRank(f"rank {settings.rank} in a world of {settings.world_size}")
        if not settings.boot_id:
            settings = dataclasses.replace(settings, boot_id=uuid.uuid4().hex)
        self.settings = settings
        self.rank = settings.rank
        self.world_size = settings.world_size
        self._mailbox = Mailbox(self.rank, settings.bulk_bytes)
        self._listeners: dict[int, Callable[[Message], None]] = {}
        self._observers: list[Callable[[PeerEvent], None]] = []
        self._links = {
            peer: Link(
                peer,
                settings,
                self._deliver,
                self._announce,
                self._mailbox.forget,
                self._run_bulk,
                is_gone,
            )
            for peer in range(self.world_size)
            if peer != self.rank
        }
        address = settings.addresses[self.rank]
        self._server = Server(address, self._links, services, settings.tls)
        self._readers: list[Reader] = []
        self._small_readers: dict[int, Reader] = {}
        self._writers: list[threading.Thread] = []
        self._aborted: dict[int, CommError] = {}
        """Collectives that another rank gave up, by tag, oldest first."""
        self._starting = threading.Lock()
        self._bulk_peers: set[int] = set()
        self._closed = False
        self._bulk_from = min(settings.bulk_bytes, settings.max_message_bytes + 1)

    def start(self) -> None:
        """Listen on this rank's data port; the links connect in the background.

        Raises:
            PortInUse: the port is taken.
        """
        self._server.start()
        for link in self._links.values():
            self._run_lane(link, SMALL)

    def close(self) -> None:
        """Deliver what was sent (within 2 s), tell the peers, stop; waiting calls fail."""
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + LINGER_S
        leaving = [
            threading.Thread(target=link.say_goodbye, args=(deadline,), name="comm-leave")
            for link in self._links.values()
            if link.state is State.UP
        ]
        for thread in leaving:
            thread.start()
        for thread in leaving:
            thread.join()
        for reader in self._readers:
            reader.close()
        for link in self._links.values():
            link.close()
        self._mailbox.fail(lambda tag: self._any_link().lost_error(tag))
        self._server.close()
        for thread in self._writers:
            thread.join(JOIN_S)
        for reader in self._readers:
            reader.join(JOIN_S)

    # Messages to listeners.

    def post(
        self, dst: int, tag: int, payload: bytes | memoryview, timeout_s: float | None = None
    ) -> None:
        """Queue a message; blocks while ``dst`` is not up yet or is slow to take earlier ones.

        Raises:
            InvalidRank: no such peer.
            MessageTooLarge: over the limit of the link.
            PeerLost: the peer is gone.
            SendTimeout: it did not come up, or did not take earlier messages, in time.
        """
        data = payload if type(payload) is bytes else bytes(payload)
        self._post_parts(dst, tag, (data,), timeout_s, wait=False)

    def listen(self, tag: int, handler: Callable[[Message], None]) -> None:
        """Have messages of a tag handed to ``handler`` on an I/O thread; it must not block.

        Messages that came before are handed over first, by this call.
        """
        links = list(self._links.values())
        for link in links:
            link.delivery.acquire()
        try:
            self._listeners[tag] = handler
            for message in self._mailbox.drain(tag):
                handler(message)
        finally:
            for link in links:
                link.delivery.release()

    def on_peer(self, handler: Callable[[PeerEvent], None]) -> None:
        """Have news of peers handed to ``handler`` on an I/O thread; peers that are up, at once.

        A peer's events and its messages come in order: "lost" of its old life before anything of
        its new one.
        """
        links = list(self._links.values())
        for link in links:
            link.delivery.acquire()
        try:
            self._observers.append(handler)
            for link in links:
                boot_id = link.announced
                if boot_id:
                    handler(PeerEvent(link.peer, "up", boot_id))
        finally:
            for link in links:
                link.delivery.release()

    def link_states(self) -> dict[int, tuple[str, str]]:
        """State of the link to each peer (`State` values) and the reason of its last trouble."""
        return {peer: (link.state.value, link.reason) for peer, link in self._links.items()}

    def link_stats(self) -> dict[int, LinkStats]:
        """Bytes, progress of large messages and round trips of the link to each peer."""
        return {peer: link.stats() for peer, link in self._links.items()}

    def counters(self) -> dict[str, int]:
        """Bytes of frames since the start, over all links: `bytes_sent`, `bytes_received`."""
        lanes = [lane for link in self._links.values() for lane in link.lanes]
        return {
            "bytes_sent": sum(lane.bytes_sent for lane in lanes),
            "bytes_received": sum(lane.bytes_received for lane in lanes),
        }

    # For blocking calls.

    def _take(self, source: int | None, tag: int, timeout_s: float | None) -> Message:
        limit = self.settings.default_timeout_s if timeout_s is None else timeout_s
        link = None if source is None else self._links.get(source) or self._link(source, tag)
        if not self._links:
            raise InvalidRank("a world of one rank has nobody to receive from", rank=self.rank)

        def check() -> None:
            aborted = self._aborted.get(tag)
            if aborted is not None:
                raise aborted.fill(rank=self.rank, peer=source, tag=tag, elapsed_s=0.0)
            lost = [link] if link is not None else list(self._links.values())
            if self._closed or all(each.state is State.LOST for each in lost):
                raise lost[0].lost_error(tag, 0.0)

        started = time.monotonic()
        got = self._mailbox.begin(tag, source, check)
        if not isinstance(got, Waiter):
            self._balance(self._links[got.source])
            return got
        deadline = started + limit
        reader = None if source is None else self._small_readers.get(source)
        if reader is not None and limit >= LEAD_FROM_S:
            reader.lead(got, deadline)
        if got.message is not None:
            return got.message
        return self._mailbox.finish(got, deadline - time.monotonic(), started)

    def _balance(self, link: Link) -> None:
        """Hold the peer back if too much of it waits to be taken, or let it go on."""
        limit, kept = self.settings.mailbox_bytes, self._mailbox.kept_bytes
        with link.lock:  # who comes last sees what all others did
            for number, large in ((SMALL, False), (BULK, True)):
                hold = kept(link.peer, large=large) > limit
                if link.lanes[number].hold is not hold:
                    link.hold_back(number, hold=hold)

    def _post_parts(
        self,
        dst: int,
        tag: int,
        parts: Sequence[bytes | memoryview],
        timeout_s: float | None,
        *,
        wait: bool,
        value: Any = None,
    ) -> Transfer | None:
        size = sum(map(len, parts))
        link = self._links.get(dst) or self._link(dst, tag)
        limit = self.settings.default_timeout_s if timeout_s is None else timeout_s
        if size < self._bulk_from:
            # Joined: the caller may change its arrays while we may have to send again.
            link.post(tag, (b"".join(parts),), size, limit)
            return None
        if size > self.settings.max_message_bytes:
            raise MessageTooLarge(
                f"message of {size} bytes is over the limit of {self.settings.max_message_bytes}",
                rank=self.rank,
                peer=dst,
                tag=tag,
                elapsed_s=0.0,
            )
        if size < self.settings.bulk_bytes:
            link.post(tag, (b"".join(parts),), size, limit)
            return None
        land = size >= LANDING_BYTES and mlx_arrays.is_array(value)
        return link.post_bulk(tag, parts, size, limit, wait=wait, mlx=land)

    def _link(self, peer: int, tag: int | None = None) -> Link:
        link = self._links.get(peer)
        if link is None:
            what = "is this rank itself" if peer == self.rank else "does not exist"
            raise InvalidRank(
                f"rank {peer!r} {what}: peers are 0 to {self.world_size - 1}, without {self.rank}",
                rank=self.rank,
                peer=peer,
                tag=tag,
                elapsed_s=0.0,
            )
        return link

    def _any_link(self) -> Link:
        return next(iter(self._links.values()))

    # Called by links, on I/O threads.

    def _deliver(self, message: Message) -> None:
        handler = self._listeners.get(message.tag)
        if handler is None:
            if message.tag not in self._aborted and self._mailbox.put(message):
                self._balance(self._links[message.source])
            return
        try:
            handler(message)
        except Exception:
            fields = {"source": message.source, "tag": message.tag}
            log.exception("listener_failed", extra={"fields": fields})

    def _announce(self, event: PeerEvent) -> None:
        link = self._links[event.rank]
        link.announced = event.boot_id if event.kind == "up" else ""
        name = "peer_up" if event.kind == "up" else "peer_lost"
        log.info(name, extra={"fields": dataclasses.asdict(event)})
        if event.kind == "lost":
            self._mailbox.fail(link.lost_error, event.rank)
            if all(each.state is State.LOST for each in self._links.values()):
                self._mailbox.fail(link.lost_error)
        for observer in list(self._observers):
            try:
                observer(event)
            except Exception:
                log.exception("observer_failed", extra={"fields": {"peer": event.rank}})

    def _run_bulk(self, peer: int) -> None:
        with self._starting:
            if peer not in self._bulk_peers and not self._closed:
                self._bulk_peers.add(peer)
                self._run_lane(self._links[peer], BULK)

    def _run_lane(self, link: Link, number: int) -> None:
        tls = self.settings.tls
        credentials = (
            grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate) if tls else None
        )
        address = self.settings.addresses[link.peer]
        name = tls.server_name if tls else ""
        reader = Reader(link, number, lambda: open_channel(address, credentials, name))

        def watch() -> None:
            link.watch()
            reader.watch()

        writer = threading.Thread(
            target=link.lanes[number].run,
            args=(link.watch_every_s, watch),
            name=f"comm-write-{link.peer}-{number}",
            daemon=True,
        )
        self._readers.append(reader)
        if number == SMALL:
            self._small_readers[link.peer] = reader
        self._writers.append(writer)
        reader.start()
        writer.start()
