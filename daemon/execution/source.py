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
    if not is_hub_id(model):
        raise ModelError(
            f"model {model!r}: no such folder, and no hub id either (owner/name): check the path"
        )
    return _checked(_snapshot(model), model)


def is_hub_id(model: str) -> bool:
    """Whether ``model`` is no folder here, but may be a repository of the hub."""
    if model.startswith((".", "/", "~")) or not HUB_ID.fullmatch(model):
        return False
    return not Path(model).exists()


def local_snapshot(hub_id: str) -> Path | None:
    """The hub's files of a repository, if the local cache has them."""
    # Imported here because it costs 0.2 s that a local model does not need.
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    wanted: list[str] = [*WANTED_FILES]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None


def hub_refusal(error: Exception) -> str | None:
    """Why the hub did not give something, in words; None if the error is not about that."""
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        LocalEntryNotFoundError,
        NotASafetensorsRepoError,
        SafetensorsParsingError,
    )

    if isinstance(error, HfHubHTTPError):
        return f"the hub refuses it ({_line(error)}): check the id and your access"
    if isinstance(error, NotASafetensorsRepoError | SafetensorsParsingError):
        return f"its weights are no safetensors files ({_line(error)})"
    if isinstance(error, LocalEntryNotFoundError | OSError | ValueError | RuntimeError):
        return (
            f"it is not in the local cache and the hub can't be reached ({_line(error)}): "
            "connect, or give a folder"
        )
    return None


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
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - as above

    known = local_snapshot(hub_id)
    if known is not None:
        return known
    wanted: list[str] = [*WANTED_FILES]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except Exception as error:
        refusal = hub_refusal(error)
        if refusal is None:
            raise
        raise ModelError(f"model {hub_id!r}: {refusal}") from error


def _line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
