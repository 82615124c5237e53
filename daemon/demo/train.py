"""Train the demo model: `python -m daemon.demo.train --out FOLDER`.

Needs torch (development only). The steps, all deterministic on one machine:

1. learn the tokenizer from generated conversations;
2. train Qwen3 in float32 on the endless stream of `conversations.training`;
3. write a float model folder, and with it a checkpoint, every `--save-every` steps.

The same command goes on from the checkpoint. The learning rate stays level until its last share,
so a run resumed before that with other `--steps` equals one started with them.

Then `python -m daemon.demo.convert FOLDER daemon/demo/model` quantises it for mlx-lm, and
`python -m daemon.demo.evaluate` scores it on the held-out cases.
"""

# pyright: basic, reportMissingImports=false

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW, Muon, Optimizer

from daemon.demo.conversations import training
from daemon.demo.train_data import as_text, batches
from daemon.demo.train_network import Qwen3, Shape
from daemon.demo.train_tokenizer import (
    END_OF_TEXT,
    MARKERS,
    SPECIAL,
    TURN_END,
    save_tokenizer,
    token_id,
    train_tokenizer,
)

SEED = 7
TOKENIZER_TEXTS = 20_000
WARM_UP = 100
DECAY_SHARE = 0.35
"""The last share of the steps, over which the learning rate falls to zero."""


def make_tokenizer() -> Tokenizer:
    """Learn the tokenizer from conversations, their marker tokens taken out."""

    def texts() -> Iterator[str]:
        for conversation in islice(training(SEED), TOKENIZER_TEXTS):
            text = as_text(conversation)
            for token in (*SPECIAL, *MARKERS):
                text = text.replace(token, "\n")
            yield text

    return train_tokenizer(texts())


def make_optimizers(model: Qwen3, rate: float) -> list[Optimizer]:
    """Give the layers' matrices to Muon, which needs fewer tokens, and the rest to AdamW."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and name.startswith("layers")]
    rest = [p for name, p in named if p.dim() != 2 or not name.startswith("layers")]
    return [
        Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def rate_at(step: int, steps: int) -> float:
    """Return the learning rate's factor: a short rise, a plateau, a line to zero."""
    rising = (step + 1) / WARM_UP
    falling = (steps - step) / (DECAY_SHARE * steps)
    return min(1.0, rising, falling)


def weighted_loss(model: Qwen3, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the mean cross-entropy of the next tokens; both arguments are (rows, length)."""
    # Products in bfloat16 are faster on a CPU that has them; norms, sums and weights stay float32.
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.logits(model(ids[:, :-1]))
    losses = functional.cross_entropy(
        logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    wanted = weights[:, 1:].flatten()
    return (losses * wanted).sum() / wanted.sum()


def save(model: Qwen3, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the float model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    end, padding = token_id(tokenizer, TURN_END), token_id(tokenizer, END_OF_TEXT)
    config = {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        **model.shape.config(),
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": padding,
        "eos_token_id": end,
    }
    generation = {"bos_token_id": padding, "eos_token_id": [end, padding]}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(generation) + "\n")
    save_tokenizer(tokenizer, folder)
    weights = {f"model.{name}": p.detach().clone() for name, p in model.named_parameters()}
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})


def _log(**fields: object) -> None:
    sys.stdout.write(" ".join(f"{name}={value}" for name, value in fields.items()) + "\n")
    sys.stdout.flush()


def _resumed(state: Path, model: Qwen3, optimizers: list[Optimizer]) -> int:
    """Load a checkpoint, if there is one; return the number of steps already done."""
    if not state.exists():
        return 0
    saved = torch.load(state)
    model.load_state_dict(saved["model"])
    for optimizer, content in zip(optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(content)
    return saved["steps"]


def _checkpoint(state: Path, model: Qwen3, optimizers: list[Optimizer], steps: int) -> None:
    contents = [optimizer.state_dict() for optimizer in optimizers]
    saved = {"model": model.state_dict(), "optimizers": contents, "steps": steps}
    part = state.with_suffix(".part")
    torch.save(saved, part)
    part.replace(state)


def train(options: argparse.Namespace) -> None:
    """Run all the steps, or those after a checkpoint; logs every fifty."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(mode=True)
    torch.set_num_threads(options.threads)
    tokenizer = make_tokenizer()
    model = Qwen3(Shape())
    optimizers = make_optimizers(model, options.rate)
    state = options.out / "state.pt"
    done = _resumed(state, model, optimizers)
    _log(parameters=sum(p.numel() for p in model.parameters()), done=done)
    started, tokens, shown = time.monotonic(), 0, 0.0
    stream = islice(batches(tokenizer, SEED, options.batch_tokens), done, options.steps)
    for step, (ids, weights) in enumerate(stream, start=done):
        loss = weighted_loss(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = options.rate * rate_at(step, options.steps)
            optimizer.step()
            optimizer.zero_grad()
        tokens += ids.numel()
        shown += loss.item()
        if (step + 1) % 50 == 0:
            speed = round(tokens / (time.monotonic() - started))
            _log(step=step + 1, loss=round(shown / 50, 4), tokens=tokens, per_s=speed)
            shown = 0.0
        if (step + 1) % options.save_every == 0:
            save(model, tokenizer, options.out)
            _checkpoint(state, model, optimizers, step + 1)
    save(model, tokenizer, options.out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the demo model.", allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True, help="folder of the float model")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-tokens", type=int, default=3072)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
