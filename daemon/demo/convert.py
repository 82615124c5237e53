"""Quantise a trained float folder: `python -m daemon.demo.convert FLOAT_FOLDER OUT`.

Every matrix, the tied embedding included, becomes 8-bit affine in groups of 64, as mlx-lm's own
conversion does. Scales stay float32: MLX's CPU kernels are several times slower in bfloat16.
"""

import argparse
import json
import shutil
from pathlib import Path

import mlx.core as mx

QUANTIZATION = {"group_size": 64, "bits": 8, "mode": "affine"}
COPIED = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def quantised(weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """Replace each matrix by its packed weights, scales and biases; keep the norms."""
    out: dict[str, mx.array] = {}
    for name, weight in sorted(weights.items()):
        if weight.ndim != 2:
            out[name] = weight
            continue
        stem = name.removesuffix(".weight")
        packed = mx.quantize(weight, group_size=64, bits=8)
        out.update(zip((name, f"{stem}.scales", f"{stem}.biases"), packed, strict=True))
    return out


def convert(source: Path, out: Path) -> None:
    """Write the model folder `out` from the float folder `source`."""
    mx.set_default_device(mx.cpu)
    out.mkdir(parents=True, exist_ok=True)
    weights = mx.load(str(source / "model.safetensors"))
    if not isinstance(weights, dict):
        raise TypeError(source)
    mx.save_safetensors(str(out / "model.safetensors"), quantised(weights), {"format": "mlx"})
    config = json.loads((source / "config.json").read_text())
    config |= {"quantization": QUANTIZATION, "quantization_config": QUANTIZATION}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in COPIED:
        shutil.copyfile(source / name, out / name)


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(
        description="Quantise a trained float folder.", allow_abbrev=False
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    convert(options.source, options.out)


if __name__ == "__main__":
    main()
