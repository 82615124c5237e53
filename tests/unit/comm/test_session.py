"""Sequencing without a network: whatever breaks, everything arrives once and in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.comm.frames import Incarnation
from daemon.comm.session import Entry, Inbox, Outbox, Pairing

ACTIONS = st.lists(
    st.sampled_from(["push", "push", "take", "take", "arrive", "arrive", "ack", "break"]),
    max_size=200,
)


class Wire:
    """A direction of a link: an outbox, frames on the way, an inbox."""

    def __init__(self) -> None:
        self.outbox, self.inbox = Outbox(), Inbox()
        self.on_the_way: list[Entry] = []
        self.pushed: list[bytes] = []
        self.got: list[bytes] = []

    def do(self, action: str) -> None:
        """One step of sender, network or receiver."""
        match action:
            case "push":
                payload = str(len(self.pushed)).encode()
                self.outbox.push(1, 0, (payload,), len(payload))
                self.pushed.append(payload)
            case "take":
                entry = self.outbox.take()
                if entry is not None:
                    self.on_the_way.append(entry)
            case "arrive":
                if self.on_the_way:
                    entry = self.on_the_way.pop(0)
                    if self.inbox.accept(entry.sequence, entry.size):
                        self.got.append(bytes(entry.parts[0]))
            case "ack":
                self.outbox.acknowledge(self.inbox.tell())
            case _:
                self.on_the_way.clear()  # lost with the stream
                self.outbox.resume(self.inbox.received)


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_everything_arrives_once_and_in_order(actions: list[str]) -> None:
    """Streams may break at any point, with any frames and acknowledgements lost."""
    wire = Wire()
    for action in actions:
        wire.do(action)
        assert wire.got == wire.pushed[: len(wire.got)]
    wire.do("break")
    while wire.outbox.unsent:
        wire.do("take")
        wire.do("arrive")
    wire.do("ack")
    assert wire.got == wire.pushed
    assert len(wire.outbox) == 0
    assert wire.outbox.unacknowledged_bytes == 0


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["see", "give up", "restart", "peer gives up", "old"])))
def test_a_pair_of_incarnations_never_comes_back(actions: list[str]) -> None:
    """Sequence numbers start again with a pair, so none may be entered twice."""
    pairing = Pairing(Incarnation("me"))
    peer, lives = Incarnation("peer-0"), [Incarnation("peer-0")]
    entered: list[tuple[Incarnation, Incarnation]] = []
    for number, action in enumerate(actions):
        seen = peer
        match action:
            case "give up":
                pairing.give_up()
                continue
            case "restart":
                peer = seen = Incarnation(f"peer-{number + 1}")
            case "peer gives up":
                peer = seen = Incarnation(peer.boot_id, peer.count + 1)
            case "old":
                seen = lives[0]
            case _:
                pass
        lives.append(peer)
        if pairing.judge(seen) == "new":
            pairing.adopt(seen)
            entered.append((pairing.mine, seen))
    assert len(set(entered)) == len(entered)
