"""Which architectures give the same bits wherever a prompt is cut, and decoded or not.

Found by `reuse_check` on a CPU with MLX's own kernels (the slow tests compare this list with what
it finds). Elsewhere prefixes are reused only where prompts are cut anyway: see decision 0207.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

if TYPE_CHECKING:
    from daemon.execution.model_card import ModelCard

FREE_CUTS = frozenset(
    [
        "Klear",
        "afm7",
        "apertus",
        "bailing_moe",
        "cohere",
        "dbrx",
        "deepseek",
        "deepseek_v2",
        "dots1",
        "ernie4_5",
        "ernie4_5_moe",
        "exaone",
        "gemma",
        "gemma2",
        "glm",
        "glm4",
        "glm4_moe",
        "gpt2",
        "gpt_bigcode",
        "gpt_neox",
        "gptj",
        "granite",
        "granitemoe",
        "helium",
        "hunyuan",
        "hunyuan_v1_dense",
        "internlm2",
        "internlm3",
        "laguna",
        "lille-130m",
        "llama",
        "llama4_text",
        "mimo",
        "minicpm",
        "minicpm3",
        "minimax",
        "minimax_m3_vl",
        "mistral3",
        "mixtral",
        "nanbeige",
        "nanochat",
        "nemotron",
        "nemotron-nas",
        "olmo2",
        "olmoe",
        "openelm",
        "phi",
        "phi3",
        "phimoe",
        "phixtral",
        "pixtral",
        "plamo",
        "qwen",
        "qwen2",
        "qwen2_moe",
        "qwen2_vl",
        "qwen3",
        "qwen3_moe",
        "qwen3_vl",
        "qwen3_vl_moe",
        "seed_oss",
        "smollm3",
        "solar_open",
        "stablelm",
        "starcoder2",
        "talkie",
        "telechat3",
        "youtu_llm",
    ]
)
"""Names of modules of `mlx_lm.models`."""


def cuts_are_free(card: ModelCard, kv_bits: int = 0) -> bool:
    """Whether that holds for this model here: then answers are kept as they were decoded."""
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    return on_cpu and not kv_bits and card.architecture in FREE_CUTS
