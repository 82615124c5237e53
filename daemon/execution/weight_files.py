"""Checks a model's safetensors files by their headers and fingerprints config and weights.

Reads kilobytes, never the weights themselves. Knows no MLX. Any thread.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100 * 1024 * 1024
SAMPLES_PER_FILE = 16
SAMPLE_BYTES = 256


@dataclass(frozen=True)
class WeightFile:
    """One safetensors file whose size agrees with its header."""

    path: Path
    header: dict[str, Any]
    data_start: int
    data_bytes: int


def read_config(folder: Path) -> dict[str, Any]:
    """The parsed config.json.

    Raises:
        ModelError: it is no JSON object, or names no model_type.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path}: no model_type: it is no language model's config")
    return config


def read_weight_files(folder: Path) -> tuple[WeightFile, ...]:
    """The headers of all weight files, checked against the index and the file sizes.

    Raises:
        ModelError: a shard is missing, truncated or corrupt, or there are no weights at all.
    """
    paths = sorted(folder.glob("model*.safetensors"))
    present = {path.name for path in paths}
    missing = sorted(_indexed_names(folder) - present)
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weight file(s) of the index are missing, first "
            f"{missing[0]}: download the model again"
        )
    if not paths:
        raise ModelError(f"{folder} holds no model*.safetensors: weights are missing")
    return tuple(_read_header(path) for path in paths)


def fingerprint(config: dict[str, Any], files: tuple[WeightFile, ...]) -> str:
    """16 hex digits that differ for another config, other tensors or other values.

    Values are sampled, so a few changed bytes of a large file may go unseen; retrained or
    requantised weights never do.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for file in files:
        digest.update(json.dumps(file.header, sort_keys=True).encode())
        with file.path.open("rb") as stream:
            for sample in range(SAMPLES_PER_FILE):
                stream.seek(file.data_start + sample * file.data_bytes // SAMPLES_PER_FILE)
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def _indexed_names(folder: Path) -> set[str]:
    path = folder / INDEX
    if not path.exists():
        return set()
    try:
        return set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: no index of weights: {error!r}: download it again") from error


def _read_header(path: Path) -> WeightFile:
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ModelError(f"{path}: no safetensors file, or cut short: download it again")
        text = stream.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        data_bytes = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: damaged safetensors header: download it again") from error
    expected = 8 + length + data_bytes
    if size != expected:
        raise ModelError(
            f"{path}: {size:,} bytes where its header says {expected:,}: download it again"
        )
    return WeightFile(path, header, 8 + length, data_bytes)
