"""Finds the folder of a model: the embedded one, a local folder, or a repository of the hub.

Knows no layers and no MLX. Any thread.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from daemon.errors import ModelError

DEMO = "demo"
WANTED_FILES = (
    "*.json",
    "*.safetensors",
    "*.jinja",
    "*.txt",
    "*.model",
    "*.tiktoken",
)
HUB_ID = re.compile(r"[\w.\-]+/[\w.\-]+")


def model_path(model: str) -> Path:
    """Folder with the config and the weights of ``model``.

    Args:
        model: `demo`, a folder, or a hub id, which is downloaded unless the local cache has it.

    Raises:
        ModelError: says what was looked for and what to do.
    """
    if model == DEMO:
        return _checked(_demo_path(), model)
    folder = Path(model).expanduser()
    if folder.exists():
        return _checked(folder, model)
    if model.startswith((".", "/", "~")) or not HUB_ID.fullmatch(model):
        raise ModelError(
            f"model {model!r}: no such folder, and no hub id either (owner/name): check the path"
        )
    return _checked(_snapshot(model), model)


def _checked(folder: Path, model: str) -> Path:
    if not folder.is_dir():
        raise ModelError(f"model {model!r}: {folder} is a file; give the folder that holds it")
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {model!r}: {folder} holds no config.json, so it is no model")
    return folder.resolve()


def _demo_path() -> Path:
    try:
        demo = importlib.import_module("daemon.demo")
        return Path(demo.model_path())
    except (ImportError, AttributeError) as error:
        raise ModelError("the demo model is not part of this installation") from error


def _snapshot(hub_id: str) -> Path:
    """The hub's files of one repository: from the local cache, else from the network."""
    # Imported here because it costs 0.2 s that a local model does not need.
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    wanted: list[str] = [*WANTED_FILES]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except HfHubHTTPError as error:
        reason = f"the hub refuses it ({_line(error)}): check the id and your access"
    except (LocalEntryNotFoundError, OSError, ValueError, RuntimeError) as error:
        reason = (
            f"it is not in the local cache and the hub can't be reached ({_line(error)}): "
            "connect, or give a folder"
        )
    raise ModelError(f"model {hub_id!r}: {reason}")


def _line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
