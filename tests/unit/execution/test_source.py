"""Finding a model: every wrong way to name one gets an answer that helps."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from daemon.errors import ModelError
from daemon.execution.source import model_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ASK_OFFLINE = """
import sys
from daemon.errors import ModelError
from daemon.execution.source import model_path
try:
    print(model_path(sys.argv[1]))
except ModelError as error:
    print("ModelError:", error)
"""


def test_a_local_folder_is_its_own_path(model_folder: Callable[[str], Path]) -> None:
    """A folder with a config is a model."""
    folder = model_folder("dense")
    assert model_path(str(folder)) == folder.resolve()


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "no spaces or words"])
def test_a_name_that_is_nothing_says_so(name: str) -> None:
    """A mistyped path must not become a request to the hub."""
    with pytest.raises(ModelError, match="no such folder"):
        model_path(name)


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    """The text names what is missing."""
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        model_path(str(tmp_path))


def test_a_file_is_no_model(tmp_path: Path) -> None:
    """Users give the weights file itself."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match="give the folder"):
        model_path(str(file))


def _ask_offline(cache: Path, name: str) -> str:
    environment = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", ASK_OFFLINE, name]
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return answer.stdout.strip()


def test_a_hub_id_without_a_hub_says_how_to_go_on(tmp_path: Path) -> None:
    """No traceback of the hub's client: one line."""
    answer = _ask_offline(tmp_path, "somebody/some-model")
    assert answer.startswith(
        "ModelError: model 'somebody/some-model': it is not in the local cache"
    )
    assert "give a folder" in answer
    assert "\n" not in answer


def test_a_hub_id_in_the_local_cache_needs_no_network(tmp_path: Path) -> None:
    """A cluster that has run once starts again without the internet."""
    repository = tmp_path / "hub" / "models--somebody--some-model"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert _ask_offline(tmp_path, "somebody/some-model") == str(snapshot.resolve())
