"""Page "why": the sentences of a store in which rank 1 is slow, full and silent."""

from __future__ import annotations

from mlxconsole.log_entry import LogEntry
from mlxconsole.source import seeded
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.fake import FakeSource
from mlxconsole.store import Store
from mlxconsole.ui.tabs import PAGES
from protos.control_pb2 import Counters, RequestStatus, RequestTable, TraceStep
from tests.support.console_pilot import opened

RANKS = 3


def slow_store() -> Store:
    """Five seconds in which rank 1 computed 30 ms a step and the others 10."""
    store = Store(seeded.cluster(RANKS), clock=lambda: 105.0)
    for second in range(6):
        for rank in range(RANKS):
            made, steps = seeded.status(rank, RANKS), second * 32
            each_s = 0.030 if rank == 1 else 0.010
            made.counters.CopyFrom(
                Counters(
                    steps=steps,
                    tokens_out=4 * steps,
                    compute_s=steps * each_s,
                    wait_s=steps * (0.031 - each_s),
                    wall_s=float(second),
                )
            )
            frame = seeded.frame(made)
            if rank == 0:
                row = RequestStatus(id="a", state="decode", prompt_tokens=1000, max_tokens=400_000)
                frame.requests.CopyFrom(RequestTable(rows=[row], total=1))
            store.apply(FrameArrived(rank, frame, 100.0 + second))
    store.log.extend(LogEntry(rank, 10.0, "INFO", "worker", "warmed up") for rank in (0, 2))
    store.log.extend([LogEntry(0, 60.0, "INFO", "worker", "later")])
    return store


async def test_the_page_says_who_is_slow_full_and_odd() -> None:
    """All three on one page, the culprit's line marked by its place in the sentence, too."""
    async with opened(FakeSource(seeded.cluster(RANKS)), (120, 40), slow_store()) as running:
        await running.pilot.press(str(PAGES.index("why") + 1))
        await running.shows("Rank 1 sets the pace: it computes 96% of the time, 30.0 ms a step")
        await running.shows("layers from rank 1 to rank")
        await running.shows("######")
        await running.shows("reaches its limit of 16G")
        await running.shows("2 of 3 ranks printed 'worker warmed up', rank 1 did not.")


async def test_sentences_are_whole_on_a_small_screen() -> None:
    """What a move of layers would give stands at a sentence's end."""
    async with opened(FakeSource(seeded.cluster(RANKS)), (80, 40), slow_store()) as running:
        await running.pilot.press(str(PAGES.index("why") + 1))
        await running.shows("# compute  . wait  = link ")
        text = " ".join(running.text().split())
        for whole in (
            "30.0 ms a step with 9 layers.",
            "tokens per second instead of 128.",
            "if admitted requests run to max_tokens.",
            "'worker warmed up', rank 1 did not.",
        ):
            assert whole in text, text


async def test_a_page_without_anything_to_say_says_so() -> None:
    """Not an empty screen."""
    async with opened(FakeSource(seeded.cluster(2)), (80, 24)) as running:
        await running.pilot.press(str(PAGES.index("why") + 1))
        await running.shows("Nothing runs")
        await running.shows("No admitted request")
        await running.shows("Two ranks can't outvote")


async def test_v_shows_the_steps_of_a_request_across_the_ranks() -> None:
    """Asked of every rank when it opens; a rank that can't answer is named."""
    source = FakeSource(seeded.cluster(2))
    for rank in range(2):
        began_s = 100.0 + 0.02 * rank
        step = TraceStep(number=7, epoch=1, tokens=1, arrived_s=began_s, began_s=began_s)
        step.ended_s = step.sent_s = began_s + 0.02
        source.traces[rank] = [step]
    async with opened(source, (100, 30)) as running:
        await running.pilot.press("v")
        await running.shows("Waterfall of the last steps")
        await running.shows("0000000000111111111")
        await running.shows("rank 1   compute  50%")
        source.traces.pop(1)
        await running.pilot.press("r")
        await running.shows("No step that all ranks have told of")
        await running.pilot.press("v")
        await running.shows("1 Ranks")


async def test_the_waterfall_opens_at_its_legend_and_scrolls_like_a_page() -> None:
    """Signs without a legend say nothing; and the newest step is a key away."""
    source = FakeSource(seeded.cluster(2))
    for rank in range(2):
        for number in range(100, 200):
            began_s = number + 0.02 * rank
            step = TraceStep(number=number, epoch=1, tokens=1, arrived_s=began_s, began_s=began_s)
            step.ended_s = step.sent_s = began_s + 0.02
            source.traces.setdefault(rank, []).append(step)
    async with opened(source, (80, 24)) as running:
        await running.pilot.press("v")
        await running.shows("0 1 2.. that rank computes, . waits, - link, = sends")
        await running.shows("STEP TOKENS")
        for key, wanted in (("j", "  117 "), ("G", "  199 "), ("ctrl+u", "  157 ")):
            await running.pilot.press(key)
            await running.shows(wanted)
        await running.pilot.press("k", "ctrl+d")
        await running.shows("  198 ")
        await running.pilot.press("g")
        await running.shows("STEP TOKENS")


async def test_z_goes_round_the_densities() -> None:
    """The table, four to a line, a column each, and back; other pages are not touched."""
    source = FakeSource(seeded.cluster(5))
    for rank in range(5):
        source.show(rank, seeded.frame(seeded.status(rank, 5)))
    async with opened(source, (120, 30)) as running:
        await running.shows("5/5 READY")
        await running.shows("LAYERS")
        await running.pilot.press("z")
        await running.shows("* rdy")
        await running.until(lambda: "LAYERS" not in running.text())
        await running.pilot.press("z")
        await running.shows("STATE   *  *  *  *  *")
        await running.pilot.press("3")
        await running.until(lambda: "STATE" not in running.text())
        await running.pilot.press("1", "z")
        await running.shows("LAYERS")
