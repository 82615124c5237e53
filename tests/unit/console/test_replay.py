"""Playing a recording: its clock, its speeds, skipping, and the order of what is handed on."""

from __future__ import annotations

import asyncio

import pytest

from daemon.errors import SettingsError
from mlxconsole.source import seeded
from mlxconsole.source.base import Action, FrameArrived, Update
from mlxconsole.source.replay import HURRY_S, SPEEDS, Playback, ReplaySource
from tests.support.waiting import until


class Clock:
    """Seconds that a test lets pass."""

    now_s = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


def at(playback: Playback, clock: Clock, seconds: float) -> float:
    """The position after ``seconds``."""
    clock.now_s += seconds
    return playback.advance()


def test_a_recording_plays_at_its_speed_and_ends() -> None:
    """Twice as fast is twice as far; the end is the end."""
    clock = Clock()
    playback = Playback(10.0, 20.0, speed=2.0, clock=clock)
    assert at(playback, clock, 1.0) == 12.0
    playback.paused = True
    assert at(playback, clock, 60.0) == 12.0
    assert playback.words() == "REPLAY 0:02/0:10 paused"
    playback.paused = False
    assert at(playback, clock, 1.0) == 14.0
    assert playback.words() == "REPLAY 0:04/0:10 x2"
    assert at(playback, clock, 60.0) == 20.0
    assert playback.over
    assert playback.words() == "REPLAY 0:10/0:10 end"


def test_skipping_hurries_through_everything_between() -> None:
    """In small steps, so that the screen and the alerts see it; even while it is paused."""
    clock = Clock()
    playback = Playback(0.0, 100.0, clock=clock)
    playback.paused = True
    playback.skip(3.0)
    playback.skip(3.0)
    positions = [playback.advance() for _ in range(int(6.0 / HURRY_S) + 2)]
    assert positions[0] == HURRY_S
    assert positions[-1] == 6.0
    assert not playback.hurrying
    playback.skip(1e9)
    assert playback.wanted_s == 100.0


def test_speeds_go_up_and_down_to_their_ends() -> None:
    """From any speed that a flag gave."""
    playback = Playback(0.0, 1.0, speed=3.1)
    playback.change_speed(1)
    assert playback.speed in {4.0, 8.0}
    for _ in SPEEDS:
        playback.change_speed(1)
    assert playback.speed == SPEEDS[-1]
    for _ in SPEEDS:
        playback.change_speed(-1)
    assert playback.speed == SPEEDS[0]


async def test_updates_come_in_order_and_not_before_their_time() -> None:
    """What a store sees of a replay is what it saw of the cluster."""
    updates: list[Update] = [
        FrameArrived(0, seeded.frame(seeded.status(0, 1)), second / 2) for second in range(20)
    ]
    clock, got = Clock(), list[Update]()
    playback = Playback(0.0, 9.5, clock=clock)
    source = ReplaySource(seeded.cluster(1), iter(updates), playback)
    follow = asyncio.create_task(source.follow(got.append))
    try:
        for passed_s, expected in ((0.0, 1), (2.2, 5), (0.3, 6)):
            clock.now_s += passed_s
            await until(lambda count=expected: len(got) >= count)
            assert got == updates[:expected]
        playback.skip(100.0)
        await until(lambda: len(got) == 20)
        assert got == updates
    finally:
        follow.cancel()
        await asyncio.gather(follow, return_exceptions=True)


async def test_the_past_refuses_actions() -> None:
    """There is nobody to restart in a file."""
    source = ReplaySource(seeded.cluster(1), iter(()), Playback(0.0, 0.0))
    assert source.read_only
    with pytest.raises(SettingsError, match="a recording"):
        await source.act(Action("restart", 0, 1))
