"""The app on a real server, with an engine that says what the test wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.text.loader import load_text_model
from tests.support.fake_engine import FakeEngine
from tests.support.served_api import ServedApi, served
from tests.support.tiny_tokenizer import MAX_CONTEXT, write_tiny_tokenizer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from daemon.text.model import TextModel


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    """The text side of a model, as the API process loads it."""
    return load_text_model(write_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
def engine(text_model: TextModel) -> FakeEngine:
    """An engine to script."""
    return FakeEngine(text_model, MAX_CONTEXT)


@pytest.fixture
async def api(engine: FakeEngine, text_model: TextModel) -> AsyncGenerator[ServedApi]:
    """A server with it."""
    async with served(engine, text_model) as running:
        yield running
        # No sequence outlives its request.
        await until(lambda: engine.live == 0)
