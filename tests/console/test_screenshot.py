"""The picture in the README: drawn by the app, the same on every machine."""

from __future__ import annotations

import html
import os
import time
from typing import TYPE_CHECKING

import pytest

from mlxconsole.ui import screenshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_time_zone() -> Iterator[None]:
    """Put the zone back that the command changes."""
    before = os.environ.get("TZ")
    yield
    if before is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_the_picture_is_the_console_and_always_the_same(tmp_path: Path) -> None:
    """A picture that changes with every run could not be committed."""
    pictures = [tmp_path / "one" / "console.svg", tmp_path / "two.svg"]
    for picture in pictures:
        screenshot.main([str(picture), "--size", "100x24"])
    first, second = (picture.read_text() for picture in pictures)
    assert first == second
    assert "url(http" not in first
    text = html.unescape(first).replace("\xa0", " ")
    for wanted in ("3/4 READY", "412 tok/s", "LOADING 4/7", "Restart"):
        assert wanted in text
