"""The pictures of the docs: drawn by the app, with the same bytes every time."""

from __future__ import annotations

import html

from mlxconsole.ui import gallery


async def test_a_picture_is_the_same_twice_and_shows_the_fault() -> None:
    """What changes with every run could not be committed."""
    first, second = [await gallery.draw("ranks", fault=True) for _ in range(2)]
    assert first == second
    text = html.unescape(first).replace("\xa0", " ")
    for wanted in ("6/8 READY", "killed by signal 9", "!2", "7/8 reached"):
        assert wanted in text
    assert "url(http" not in first


async def test_the_page_why_names_the_slow_rank() -> None:
    """The seeded cluster has one, so that the picture says something."""
    text = html.unescape(await gallery.draw("why", fault=False)).replace("\xa0", " ")
    assert "Rank 3 sets the pace" in text
