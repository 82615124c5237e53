"""A real tokenizer, loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.text.loader import load_text_model
from tests.support.tiny_tokenizer import write_tiny_tokenizer

if TYPE_CHECKING:
    from daemon.text.model import TextModel


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    """The text side of a model, as the API process loads it."""
    return load_text_model(write_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))
