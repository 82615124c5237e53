"""The embedded demo model: a small Qwen3 that chats, so that no hub is needed.

Owns the shipped model folder, its conversations and the scripts that make it.
Importing this package costs nothing; torch and mlx are imported by the scripts only.
"""

from pathlib import Path


def model_path() -> Path:
    """Return the folder of the shipped model, as mlx-lm's `load` takes it."""
    return Path(__file__).resolve().parent / "model"
