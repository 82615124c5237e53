"""Sizing a model of the hub fetches kilobytes, and tells the same as having all of it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from daemon.execution.card import inspect
from daemon.execution.model_card import ModelCard
from tests.support import random_models
from tests.support.fake_hub import fake_hub

if TYPE_CHECKING:
    from pathlib import Path

HUB_ID = "somebody/some-model"
WIDE = random_models.QWEN3 | {"num_hidden_layers": 3, "hidden_size": 256, "vocab_size": 4096}


def _card(cache: Path, endpoint: str, hub_id: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HOME": str(cache), "HF_ENDPOINT": endpoint}
    command = [sys.executable, "-m", "daemon.execution.card", hub_id]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_model_of_the_hub_is_sized_by_its_headers(tmp_path: Path) -> None:
    """Nobody downloads 400 GB to learn that it does not fit."""
    folder = random_models.write_model(tmp_path / "model", WIDE, bits=8, shards=2)
    weights_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    with fake_hub(HUB_ID, folder) as hub:
        done = _card(tmp_path / "cache", hub.url, HUB_ID)
        given_bytes = hub.given_bytes
    assert done.returncode == 0, done.stderr
    there = ModelCard.from_json(done.stdout)
    here = inspect(folder)
    unlike = {"path": here.path, "fingerprint": here.fingerprint}
    assert dataclasses.replace(there, **unlike) == here
    # The client asks for 100 KB of each file where a header is; the weights are ten times that.
    assert given_bytes < 300_000 < weights_bytes


def test_a_hub_that_does_not_know_it_is_named(tmp_path: Path) -> None:
    """One line, without a traceback."""
    with fake_hub(HUB_ID, tmp_path) as hub:
        done = _card(tmp_path / "cache", hub.url, "somebody/something-else")
    assert done.returncode == 1
    assert "model 'somebody/something-else': the hub refuses it" in done.stderr
    assert done.stderr.strip().count("\n") == 0
