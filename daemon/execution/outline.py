"""A model of the hub without its weights: config and headers, in files of the right size.

The files are sparse, so a model of any size takes some megabytes to fetch and to keep. Good for
`card.inspect`, which reads no weight; never for loading. Any thread.
"""

from __future__ import annotations

import json
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.errors import ModelError
from daemon.execution.source import hub_refusal, is_hub_id, local_snapshot, model_path
from daemon.execution.weight_files import INDEX

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def outline(model: str) -> Generator[Path]:
    """A folder good for `card.inspect`: the model's own, or one that is gone afterwards.

    Raises:
        ModelError: as `source.model_path`.
    """
    if not is_hub_id(model) or local_snapshot(model):
        yield model_path(model)
        return
    with tempfile.TemporaryDirectory(prefix="mlxconsole-outline-") as folder:
        _fetch(model, Path(folder))
        yield Path(folder)


def _fetch(hub_id: str, folder: Path) -> None:
    # Imported here because it costs 0.2 s that a local model does not need.
    from huggingface_hub import HfApi  # noqa: PLC0415

    api = HfApi()
    try:
        api.hf_hub_download(hub_id, "config.json", local_dir=folder)
        for name in api.list_repo_files(hub_id):
            if name == INDEX:
                api.hf_hub_download(hub_id, name, local_dir=folder)
            elif Path(name).match("model*.safetensors"):
                found = api.parse_safetensors_file_metadata(hub_id, name)
                _write_sparse(folder / name, found.tensors, found.metadata)
    except Exception as error:
        refusal = hub_refusal(error)
        if refusal is None:
            raise
        raise ModelError(f"model {hub_id!r}: {refusal}") from error


def _write_sparse(path: Path, tensors: dict[str, Any], metadata: dict[str, str]) -> None:
    """A safetensors file with this header, and a hole where the weights would be."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    header |= {
        name: {"dtype": item.dtype, "shape": item.shape, "data_offsets": list(item.data_offsets)}
        for name, item in tensors.items()
    }
    text = json.dumps(header).encode()
    end = max((item.data_offsets[1] for item in tensors.values()), default=0)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
