"""A tiny configuration for every architecture of mlx-lm, for the self-check.

mlx-lm's argument classes take what they know out of a config, so one generic set of values serves
most architectures; the rest adds to it. Pure data; knows no ranks.
"""

from __future__ import annotations

from typing import Any

LAYERS = 8
WINDOW = 16
"""Smaller than the self-check's prompts, so that sliding windows slide."""

_THREE_OF_FOUR = ["sliding_attention"] * 3 + ["full_attention"]
_SLIDING = _THREE_OF_FOUR * 2
_LINEAR = (["linear_attention"] * 3 + ["full_attention"]) * 2
_ROPE = {"rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 1.0}

GENERIC: dict[str, Any] = {
    # Sizes, under all their names.
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "model_dim", "hidden_dim"), 128),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), LAYERS),
    "num_transformer_layers": LAYERS,
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_kv_heads"), 2),
    "num_attention_groups": 2,
    **dict.fromkeys(("head_dim", "v_head_dim", "kv_channels", "index_head_dim"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_hidden_size", "n_inner", "block_dim"), 128),
    **dict.fromkeys(("intermediate_size_mlp", "dense_intermediate_size"), 128),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "padded_vocab_size"), 256),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "block_size"), 4096),
    "model_max_length": 4096,
    # Norms, positions, windows.
    **dict.fromkeys(("rms_norm_eps", "norm_eps", "layer_norm_eps", "post_norm_eps"), 1e-5),
    **dict.fromkeys(("layer_norm_epsilon", "layernorm_epsilon"), 1e-5),
    **dict.fromkeys(("rope_theta", "rope_local_base_freq", "swa_rope_theta"), 10000.0),
    "rotary_emb_base": 10000,
    "rope_scaling": None,
    "rotary_dim": 16,
    "rotary_pct": 0.5,
    "partial_rotary_factor": 0.5,
    **dict.fromkeys(("sliding_window", "sliding_window_size", "attention_window_size"), WINDOW),
    **dict.fromkeys(("attention_chunk_size", "window_size"), WINDOW),
    "sliding_window_pattern": 3,
    "query_pre_attn_scalar": 32,
    "hidden_act": "silu",
    # Switches.
    **dict.fromkeys(("tie_word_embeddings", "attention_bias", "mlp_bias", "use_bias"), False),
    **dict.fromkeys(("conv_bias", "use_qkv_bias", "mamba_proj_bias", "use_cla"), False),
    **dict.fromkeys(("norm_topk_prob", "use_qk_norm", "use_conv_bias", "qk_norm"), True),
    "post_norm": False,
    # Mixtures of experts.
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "moe_num_experts": 4,
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk"), 2),
    "moe_top_k": 2,
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "num_shared_expert"), 1),
    **dict.fromkeys(("moe_intermediate_size", "shared_intermediate_size"), 32),
    **dict.fromkeys(("shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("moe_layer_freq", "n_group", "topk_group", "decoder_sparse_step"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers"), 1),
    "routed_scaling_factor": 1.0,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "mlp_only_layers": [],
    "use_expert_bias": True,
    # Compressed attention.
    "kv_lora_rank": 16,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "index_n_heads": 2,
    "index_topk": 8,
    # Recurrent layers.
    **dict.fromkeys(("conv_kernel", "linear_conv_kernel_dim", "mamba_d_conv"), 4),
    "conv1d_width": 4,
    "conv_window": 2,
    "conv_L_cache": 3,
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 16),
    "mamba_expand": 2,
    "time_step_rank": 8,
    "time_step_limit": [0.001, 0.1],
    "n_groups": 2,
    **dict.fromkeys(("linear_num_value_heads", "mamba_num_heads"), 4),
    "linear_num_key_heads": 2,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "mamba_head_dim"), 32),
    "full_attention_interval": 4,
    "layer_group_size": 4,
    "group_norm_size": 1,
    # Multipliers.
    **dict.fromkeys(("logits_scaling", "embedding_multiplier", "residual_multiplier"), 1.0),
    **dict.fromkeys(("scale_emb", "output_multiplier", "ffn_dim_divisor"), 1),
    "attention_multiplier": 0.2,
    "dim_model_base": 128,
    "scale_depth": 1.4,
    "final_logit_softcapping": 30.0,
    "logits_soft_cap": 30.0,
    "num_nextn_predict_layers": 0,
    "layer_types": None,
}

_LFM2 = {
    "layer_types": ["conv", "full_attention"] * 4,
    "block_multiple_of": 32,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": False,
}
_KDA = {
    "num_heads": 4,
    "head_dim": 32,
    "short_conv_kernel_size": 4,
    "kda_layers": [1, 2, 3, 5, 6, 7],
    "full_attn_layers": [4, 8],
}
_YARN = {
    **_ROPE,
    "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": 1024,
    "factor": 1.0,
}
_GEMMA4 = {
    "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 16,
    "global_head_dim": 32,
    "layer_types": _SLIDING,
    "tie_word_embeddings": True,
}

ADDITIONS: dict[str, dict[str, Any]] = {
    "afm7": {"num_kv_reuse_layers": 4},
    "afmoe": {"layer_types": _SLIDING},
    "baichuan_m1": {"sliding_window_layers": [0, 1, 2, 4, 5, 6]},
    "dbrx": {
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
    },
    "deepseek_v2": {"rope_scaling": {"type": "linear", "factor": 1.0}},
    "exaone4": {"sliding_window_pattern": "LLLG"},
    "exaone_moe": {"layer_types": _SLIDING, "is_moe_layer": [False] + [True] * 7},
    "gear": {"layer_types": ["conv_mixer", "full_attention", *_SLIDING[:2]] * 2},
    "gemma3n": {
        "num_kv_shared_layers": 0,
        "layer_types": _SLIDING,
        "activation_sparsity_pattern": [0.5] + [0.0] * 7,
        "hidden_size_per_layer_input": 16,
        "altup_num_inputs": 2,
        "altup_coef_clip": 120.0,
        "altup_correct_scale": True,
        "altup_active_idx": 0,
        "laurel_rank": 8,
    },
    "gemma4": _GEMMA4,
    "gemma4_text": _GEMMA4,
    "glm_moe_dsa": {"rope_parameters": _ROPE},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention"] * 4,
        "mamba_n_heads": 4,
        "mamba_d_head": 32,
        "mamba_n_groups": 2,
        "mamba_conv_bias": True,
    },
    "hunyuan": {
        "use_mixed_mlp_moe": True,
        "use_cla": True,
        "cla_share_factor": 2,
        "rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": 1.0},
    },
    "jamba": {
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "expert_layer_offset": 1,
        "expert_layer_period": 2,
    },
    "kimi_k3": {
        "hidden_act": "situ",
        "linear_attn_config": _KDA,
    },
    "kimi_linear": {"linear_attn_config": _KDA},
    "lfm2": _LFM2,
    "lfm2-vl": _LFM2,
    "lfm2_moe": _LFM2,
    "llama4": {"interleave_moe_layer_step": 2, "num_experts_per_tok": 1},
    "llama4_text": {"no_rope_layers": [1, 1, 1, 0] * 2},
    "longcat_flash": {
        "attention_method": "MLA",
        "zero_expert_num": 2,
        "zero_expert_type": "identity",
        "mla_scale_q_lora": True,
        "mla_scale_kv_lora": True,
    },
    "longcat_flash_ngram": {
        "attention_method": "MLA",
        "zero_expert_num": 2,
        "zero_expert_type": "identity",
        "mla_scale_q_lora": True,
        "mla_scale_kv_lora": True,
    },
    "mellum": {
        "layer_types": _SLIDING,
        "rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE},
    },
    "mimo_v2_flash": {
        "hybrid_layer_pattern": [0, 1, 1, 1] * 2,
        "moe_layer_freq": [0] + [1] * 7,
        "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": False,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 32,
        "swa_v_head_dim": 32,
    },
    "minicpm3": {"rope_scaling": {"original_max_position_embeddings": 4096}},
    "minimax_m3_vl": {"moe_layer_freq": [0] + [1] * 7},
    "ministral3": {"rope_parameters": _YARN, "layer_types": _SLIDING},
    "mistral3": {"rope_parameters": _YARN},
    "mistral4": {"rope_parameters": _YARN},
    "muse_spark": {
        "rope_parameters": _ROPE,
        "layer_rope_theta": [10000.0, 10000.0, 10000.0, 0.0] * 2,
        "layer_types": _SLIDING,
        "moe_hidden_size": 64,
        "num_shared_experts": 0,
    },
    "nemotron-nas": {
        "block_configs": [{"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.0}}] * LAYERS
    },
    "nemotron_h": {
        "hybrid_override_pattern": list("M*ME-M*M"),
        "moe_shared_expert_intermediate_size": 32,
    },
    "olmo_hybrid": {"layer_types": _LINEAR, "linear_allow_neg_eigval": True},
    "openelm": {
        "num_query_heads": [4] * LAYERS,
        "num_kv_heads": [2] * LAYERS,
        "ffn_multipliers": [1.0] * LAYERS,
        "ffn_dim_divisor": 32,
    },
    "phi3small": {
        # It masks fixed token ids, beyond a smaller vocabulary.
        "vocab_size": 100352,
        "dense_attention_every_n_layers": 2,
        "ff_intermediate_size": 128,
        "gegelu_limit": 20.0,
    },
    "plamo": {"n_shared_head": 2},
    "recurrent_gemma": {
        "block_types": ["recurrent", "recurrent", "attention"],
        "num_key_value_heads": 1,
    },
    "rwkv7": {
        "a_low_rank_dim": 16,
        "v_low_rank_dim": 16,
        "gate_low_rank_dim": 16,
        "decay_low_rank_dim": 16,
    },
    "solar_open": {"partial_rotary_factor": 1.0},
    "spark2_5": {
        "rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE},
        "hidden_act": "gelu",
    },
}


def tiny_config(module: str) -> dict[str, Any]:
    """A config for the architecture in `mlx_lm.models.<module>`."""
    config = {**GENERIC, **ADDITIONS.get(module, {}), "model_type": module}
    return {**config, "text_config": dict(config)}
