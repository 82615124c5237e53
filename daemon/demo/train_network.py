"""Qwen3 in torch, weight for weight what mlx-lm's `qwen3` computes; for training only."""

# pyright: basic, reportMissingImports=false

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from daemon.demo.train_tokenizer import CONTEXT, VOCABULARY


@dataclass(frozen=True)
class Shape:
    """The model's sizes, under the names of `config.json`."""

    hidden_size: int = 128
    num_hidden_layers: int = 8
    intermediate_size: int = 384
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    vocab_size: int = VOCABULARY
    max_position_embeddings: int = CONTEXT
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0

    def config(self) -> dict[str, object]:
        """Return the sizes as `config.json` has them."""
        return asdict(self)


class Norm(nn.Module):
    """Root-mean-square norm with a learned scale."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last axis to unit mean square."""
        return functional.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


def rotation(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of RoPE, each (length, head_dim)."""
    half = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
    angles = torch.outer(torch.arange(length).float(), shape.rope_theta**-half)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair (i, i + head_dim / 2) by its position's angle."""
    low, high = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-high, low), dim=-1) * sines


class Attention(nn.Module):
    """Grouped-query attention with normed queries and keys."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.head_dim = s.head_dim
        self.groups = s.num_attention_heads // s.num_key_value_heads
        inner, outer = s.num_attention_heads * s.head_dim, s.num_key_value_heads * s.head_dim
        self.q_proj = nn.Linear(s.hidden_size, inner, bias=False)
        self.k_proj = nn.Linear(s.hidden_size, outer, bias=False)
        self.v_proj = nn.Linear(s.hidden_size, outer, bias=False)
        self.o_proj = nn.Linear(inner, s.hidden_size, bias=False)
        self.q_norm = Norm(s.head_dim, s.rms_norm_eps)
        self.k_norm = Norm(s.head_dim, s.rms_norm_eps)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Attend causally; x is (batch, length, hidden)."""
        batch, length, _ = x.shape
        split = (batch, length, -1, self.head_dim)
        q = self.q_norm(self.q_proj(x).view(split)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(split)).transpose(1, 2)
        v = self.v_proj(x).view(split).transpose(1, 2)
        q, k = rotate(q, cosines, sines), rotate(k, cosines, sines)
        k, v = (t.repeat_interleave(self.groups, dim=1) for t in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden_size, s.intermediate_size, bias=False)
        self.up_proj = nn.Linear(s.hidden_size, s.intermediate_size, bias=False)
        self.down_proj = nn.Linear(s.intermediate_size, s.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map each position on its own."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One decoder layer."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(s)
        self.mlp = Mlp(s)
        self.input_layernorm = Norm(s.hidden_size, s.rms_norm_eps)
        self.post_attention_layernorm = Norm(s.hidden_size, s.rms_norm_eps)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Add attention, then the MLP."""
        x = x + self.self_attn(self.input_layernorm(x), cosines, sines)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen3(nn.Module):
    """The whole model; its parameter names are those of mlx-lm below `model.`."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.shape = s
        self.embed_tokens = nn.Embedding(s.vocab_size, s.hidden_size)
        self.layers = nn.ModuleList(Block(s) for _ in range(s.num_hidden_layers))
        self.norm = Norm(s.hidden_size, s.rms_norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = (2 * s.num_hidden_layers) ** -0.5 if deep else 1.0
                nn.init.normal_(parameter, std=0.05 * scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the final hidden states (batch, length, hidden) of tokens (batch, length)."""
        cosines, sines = rotation(self.shape, tokens.shape[1])
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cosines, sines)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Apply the tied output layer."""
        return functional.linear(hidden, self.embed_tokens.weight)
