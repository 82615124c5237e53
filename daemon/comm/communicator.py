"""The class that others use: an `Endpoint` with blocking calls, point to point and collective.

Every method may be called from any thread. Collectives match by their order within a channel:
threads that run collectives at the same time use channels of their own.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import numpy as np

from daemon.comm import codec, collectives
from daemon.comm.endpoint import Endpoint
from daemon.comm.link import MAX_TAG
from daemon.comm.link_state import State
from daemon.comm.reductions import prepare
from daemon.comm.rounds import SECOND_PHASE, Round, read_abort
from daemon.errors import CodecError, CommError, InvalidRank

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from daemon.comm.bulk import Transfer
    from daemon.comm.events import Message, PeerEvent
    from daemon.comm.reductions import Array, Operation
    from daemon.comm.settings import CommSettings

_COLLECTIVE = 1 << 62
_ABORT_TAG = 1 << 61
_KEPT_ABORTS = 1024
_KEPT_NOTICES = 64
_ABORT_TIMEOUT_S = 0.2
MAX_CHANNEL = 2**24


class Communicator(Endpoint):
    """Messages, objects, arrays and collectives between the ranks of a world."""

    def __init__(
        self, settings: CommSettings, services: Sequence[grpc.GenericRpcHandler[Any, Any]] = ()
    ) -> None:
        """``services`` are served on the data port beside the links."""
        super().__init__(settings, services)
        self._counts: Counter[int] = Counter()
        self._counting = threading.Lock()
        self._missed: dict[int, deque[bytes]] = {}
        """Notices of collectives given up, for peers that are not up yet."""
        self.listen(_ABORT_TAG, self._on_abort)

    # Point to point.

    def send(self, dst: int, value: Any, tag: int = 0, timeout_s: float | None = None) -> None:
        """Send an array or object to a rank; returns when ``value`` may be changed again.

        Raises:
            InvalidRank: no such peer, or oneself.
            CodecError: the value can't be sent.
            PeerLost, SendTimeout, MessageTooLarge: as for `post`.
        """
        self._check_tag(tag)
        try:
            parts = codec.encode_parts(value)
        except CodecError as error:
            error.fill(rank=self.rank, peer=dst, tag=tag, elapsed_s=0.0)
            raise
        self._post_parts(dst, tag, parts, timeout_s, wait=True, value=value)

    def recv(self, source: int | None = None, tag: int = 0, timeout_s: float | None = None) -> Any:
        """The next value of a tag from a rank, or from any (None).

        Raises:
            InvalidRank: no such peer, or oneself.
            RecvTimeout: nothing came in time.
            PeerLost: the peer is gone, or every peer if ``source`` is None.
        """
        self._check_tag(tag)
        message = self._take(source, tag, timeout_s)
        try:
            return codec.decode(message.payload)
        except CodecError as error:
            error.fill(rank=self.rank, peer=message.source, tag=tag, elapsed_s=0.0)
            raise

    send_object = send
    recv_object = recv

    # Collectives. `timeout_s` bounds each; all raise CollectiveMismatch, PeerLost, RecvTimeout.

    def barrier(self, *, channel: int = 0, timeout_s: float | None = None) -> None:
        """Return when every rank has called it."""
        with self._round("barrier", channel, timeout_s) as step:
            collectives.barrier(step, self.rank, self.world_size)

    def broadcast(
        self, value: Any = None, root: int = 0, *, channel: int = 0, timeout_s: float | None = None
    ) -> Any:
        """The root's value, on every rank."""
        self._check_root(root)
        with self._round(f"broadcast from {root}", channel, timeout_s) as step:
            return collectives.broadcast(step, self.rank, self.world_size, value, root)

    def all_gather(
        self, value: Any, *, channel: int = 0, timeout_s: float | None = None
    ) -> list[Any]:
        """The values of all ranks, in rank order; shapes may differ."""
        with self._round("all_gather", channel, timeout_s) as step:
            return collectives.all_gather(step, self.rank, self.world_size, value)

    def gather(
        self, value: Any, root: int = 0, *, channel: int = 0, timeout_s: float | None = None
    ) -> list[Any] | None:
        """The values of all ranks in rank order on the root; None elsewhere."""
        self._check_root(root)
        with self._round(f"gather to {root}", channel, timeout_s) as step:
            return collectives.gather(step, self.rank, self.world_size, value, root)

    def scatter(
        self,
        values: Sequence[Any] | None = None,
        root: int = 0,
        *,
        channel: int = 0,
        timeout_s: float | None = None,
    ) -> Any:
        """This rank's one of the root's values."""
        self._check_root(root)
        with self._round(f"scatter from {root}", channel, timeout_s) as step:
            return collectives.scatter(step, self.rank, self.world_size, values, root)

    def all_reduce(
        self,
        value: Any,
        operation: Operation = "sum",
        *,
        channel: int = 0,
        timeout_s: float | None = None,
    ) -> Any:
        """The element-wise sum, mean, max or min over all ranks: the same bits on every rank.

        Sums keep the dtype (of booleans: integers); means of integers are floats.

        Raises:
            OverflowError: an integer sum that the dtype can't hold, on every rank.
        """
        reduction = prepare(value, operation)
        name = f"all_reduce {reduction.signature}"
        with self._round(name, channel, timeout_s) as step:
            reduced = collectives.all_reduce(step, self.rank, self.world_size, reduction)
        return reduction.finish(_own(reduced, reduction.work), self.world_size)

    def reduce_scatter(
        self,
        value: Any,
        operation: Operation = "sum",
        *,
        channel: int = 0,
        timeout_s: float | None = None,
    ) -> Any:
        """This rank's share of the reduction: block ``rank`` of `np.array_split` along axis 0."""
        size = self.world_size
        rows = np.array_split(np.arange(value.shape[0]), size)
        mine = (
            value[int(rows[self.rank][0]) : int(rows[self.rank][-1]) + 1]
            if len(rows[self.rank])
            else value[:0]
        )
        whole, share = prepare(value, operation), prepare(mine, operation)
        per_row = whole.work.size // max(1, value.shape[0])
        bounds = [0, *np.cumsum([len(block) * per_row for block in rows]).tolist()]
        name = f"reduce_scatter {whole.signature}"
        with self._round(name, channel, timeout_s) as step:
            reduced = collectives.reduce_share(step, self.rank, size, whole, bounds)
        return share.finish(_own(reduced, whole.work), size)

    # For rounds.

    def push(
        self, dst: int, tag: int, parts: Sequence[bytes | memoryview], timeout_s: float
    ) -> Transfer | None:
        """Send without waiting; memory of a result must not change before it is over."""
        return self._post_parts(dst, tag, parts, timeout_s, wait=False)

    def settle(self, dst: int, transfer: Transfer, timeout_s: float) -> None:
        """Wait until a transfer has arrived."""
        self._link(dst).await_arrival(transfer, 0, timeout_s)

    def pull(self, source: int, tag: int, timeout_s: float) -> memoryview:
        """The next message of a rank and a tag."""
        return memoryview(self._take(source, tag, timeout_s).payload)

    def abort(self, tag: int, notice: bytes) -> None:
        """Tell every other rank, as well as possible, that this one gives up."""
        self._give_up(tag, CommError("given up by this rank"))
        for peer, link in self._links.items():
            if link.state is State.CONNECTING:
                with self._counting:
                    self._missed.setdefault(peer, deque(maxlen=_KEPT_NOTICES)).append(notice)
                if self.link_states()[peer][0] == State.UP.value:  # it came meanwhile
                    self._tell_missed(peer)
            else:
                self._notify(peer, notice)

    def _announce(self, event: PeerEvent) -> None:
        super()._announce(event)
        if event.kind == "up":
            self._tell_missed(event.rank)

    def _tell_missed(self, peer: int) -> None:
        """A peer that came late would wait in vain for those who gave up before."""
        with self._counting:
            notices = self._missed.pop(peer, ())
        for notice in notices:
            self._notify(peer, notice)

    def _notify(self, peer: int, notice: bytes) -> None:
        with contextlib.suppress(CommError):  # it is lost or stuck: it finds out by itself
            self._post_parts(peer, _ABORT_TAG, (notice,), _ABORT_TIMEOUT_S, wait=False)

    def _round(self, name: str, channel: int, timeout_s: float | None) -> Round:
        if not 0 <= channel < MAX_CHANNEL:
            raise ValueError(f"channel {channel} is not between 0 and {MAX_CHANNEL - 1}")
        with self._counting:
            count = self._counts[channel]
            self._counts[channel] = (count + 1) % 2**32
        tag = _COLLECTIVE | channel << 32 | count
        limit = self.settings.default_timeout_s if timeout_s is None else timeout_s
        return Round(self, tag, name, limit)

    def _on_abort(self, message: Message) -> None:
        tag, error = read_abort(message.payload)
        error.peer = message.source
        self._give_up(tag, error)

    def _give_up(self, tag: int, error: CommError) -> None:
        while len(self._aborted) >= _KEPT_ABORTS:
            self._aborted.pop(next(iter(self._aborted)), None)
        for each in (tag, tag | SECOND_PHASE):
            self._aborted.setdefault(each, error)
            self._mailbox.fail(lambda _tag: error, tag=each)
            self._mailbox.drain(each)

    def _check_root(self, root: int) -> None:
        if not 0 <= root < self.world_size:
            raise InvalidRank(
                f"root {root} in a world of {self.world_size}",
                rank=self.rank,
                peer=root,
                elapsed_s=0.0,
            )

    @staticmethod
    def _check_tag(tag: int) -> None:
        if not 0 <= tag < MAX_TAG:
            raise ValueError(f"tag {tag} is not between 0 and {MAX_TAG - 1}")


def _own(reduced: Array, work: Array) -> Array:
    """The result in memory that nobody else reads or writes."""
    shared = not reduced.flags.writeable or np.may_share_memory(reduced, work)
    return reduced.copy() if shared else reduced
