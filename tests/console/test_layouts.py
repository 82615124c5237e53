"""What each size of the terminal has room for."""

from __future__ import annotations

import pytest

from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from tests.support.console_pilot import Console


@pytest.mark.parametrize("size", [(60, 14), (80, 24), (120, 30), (120, 40), (200, 60)])
async def test_a_large_screen_has_charts_and_requests_beside_the_ranks(
    size: tuple[int, int],
) -> None:
    """And the log still follows; on another page they are gone, back here they return."""
    source = FakeSource(seeded.cluster(2))
    for rank in range(2):
        source.show(rank, seeded.frame(seeded.status(rank, 2), *seeded.log_lines(rank, 5)))
    app = ConsoleApp(source)
    async with app.run_test(size=size) as pilot:
        running = Console(app, pilot)
        is_large = size[0] >= 120 and size[1] >= 36
        await running.shows("2/2 READY")
        await running.shows("sequence_opened")
        await running.until(lambda: ("ms/step" in running.text()) == is_large)
        assert ("OUT/MAX" in running.text()) == is_large
        await pilot.press("3")
        await running.until(lambda: "ms/step" not in running.text())
        await pilot.press("1")
        await running.until(lambda: ("OUT/MAX" in running.text()) == is_large)
        assert app.focused is running.table
