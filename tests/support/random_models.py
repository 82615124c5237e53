"""Writes tiny model folders with random weights, real enough for mlx-lm to load and run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx import nn
from mlx_lm.utils import _get_classes  # pyright: ignore[reportPrivateUsage] - what load_model uses

from daemon.execution.random_weights import randomise
from daemon.execution.skeleton import parameters

if TYPE_CHECKING:
    from pathlib import Path

GROUP_SIZE = 32

QWEN3: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "num_hidden_layers": 8,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rms_norm_eps": 1e-6,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
}

QWEN3_MOE: dict[str, Any] = QWEN3 | {
    "model_type": "qwen3_moe",
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 64,
    "norm_topk_prob": True,
    "tie_word_embeddings": False,
}

LLAMA: dict[str, Any] = QWEN3 | {"model_type": "llama", "tie_word_embeddings": False}

GEMMA3: dict[str, Any] = QWEN3 | {
    "model_type": "gemma3_text",
    "sliding_window": 16,
    "sliding_window_pattern": 3,
    "query_pre_attn_scalar": 32,
    "rope_local_base_freq": 10000.0,
    "rope_global_base_freq": 1000000.0,
}

QWEN3_NEXT: dict[str, Any] = QWEN3_MOE | {
    "model_type": "qwen3_next",
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "shared_expert_intermediate_size": 64,
    "full_attention_interval": 4,
    "partial_rotary_factor": 0.25,
}


def write_model(
    folder: Path,
    config: dict[str, Any],
    *,
    bits: int = 0,
    dtype: mx.Dtype = mx.float32,
    seed: int = 0,
    shards: int = 1,
) -> Path:
    """Write config and weights of a random model into ``folder``; the folder.

    Args:
        folder: made if missing.
        config: as in a config.json.
        bits: quantise linear layers and embeddings to this width; 0 leaves them alone.
        dtype: of the weights, before quantisation.
        seed: another seed, other weights.
        shards: number of weight files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    randomise(model, dtype, seed)
    config = dict(config)
    if bits:
        config["quantization"] = {"group_size": GROUP_SIZE, "bits": bits}
        nn.quantize(model, group_size=GROUP_SIZE, bits=bits, class_predicate=_quantisable)
    weights = parameters(model)
    mx.eval(weights)
    names = sorted(weights)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        mx.save_safetensors(str(folder / file), part, metadata={"format": "mlx"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _quantisable(_path: str, module: nn.Module) -> bool:
    weight = module.get("weight")
    return (
        hasattr(module, "to_quantized")
        and weight is not None
        and weight.shape[-1] % GROUP_SIZE == 0
    )
