"""What is known of a model before anybody loads it. Plain data, no MLX; any thread."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """What placement, engine and console know of a model."""

    path: Path
    model_type: str
    fingerprint: str
    """Of config and weights; equal on all ranks that hold the same model."""
    n_layers: int
    legal_cuts: tuple[int, ...]
    """c: layers before c and from c on may live on different ranks."""
    why: tuple[str, ...]
    """What forbids the other cuts."""
    layer_bytes: tuple[int, ...]
    """Weights of each layer."""
    layer_work_bytes: tuple[int, ...]
    """Weights of each layer that one token touches: of the experts, only those chosen."""
    embed_bytes: int
    """Weights that only the first stage has besides its layers."""
    head_bytes: int
    """Weights that only the last stage has besides its layers; a tied embedding counts."""
    shared_bytes: int
    """Weights outside the layers that every stage has when there are several."""
    whole_bytes: int
    """All weights: what a single stage holds."""
    kv_token_bytes: tuple[int, ...]
    """Per layer the cache bytes of one token of context; recurrent layers have 0."""
    max_context: int
    vocab_size: int
    weight_bits: int = 16
    """Of one weight, as the config names them or the arrays are."""
    architecture: str = ""
    """Module of `mlx_lm.models` that the model comes from."""
    kv_windows: tuple[int, ...] = ()
    """Per layer the tokens after which its cache forgets the oldest; 0: never."""
    kv_state_bytes: tuple[int, ...] = ()
    """Per layer the cache bytes of a sequence of any length: recurrent states."""
    kv_cuttable: bool = True
    """Whether all caches have one entry per token, so that they can be cut anywhere."""
    kv_storable: bool = True
    """Whether the prefix cache can hold what the caches hold."""

    def to_json(self) -> str:
        """One line that `from_json` reads."""
        return json.dumps(asdict(self) | {"path": str(self.path)})

    @staticmethod
    def from_json(text: str) -> ModelCard:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        for key, value in fields.items():
            fields[key] = tuple(value) if isinstance(value, list) else value
        fields["path"] = Path(fields["path"])
        return ModelCard(**fields)
