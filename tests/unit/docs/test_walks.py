"""The walks are the map of the house: a map of another house is worse than none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HOP = re.compile(r"^\d+\. `(?P<file>[\w/.]+)` `(?P<symbol>[\w.]+)`:", re.MULTILINE)
HOPS = [(m["file"], m["symbol"]) for m in HOP.finditer((ROOT / "docs/walks.md").read_text())]


def symbols(path: Path) -> set[str]:
    """Names of the classes, functions and methods that a file defines."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{node.name}.{method.name}" for method in inner}
    return found


def test_every_hop_is_written_as_a_hop() -> None:
    """A hop that the pattern misses would go unchecked."""
    numbered = re.findall(r"^\d+\. ", (ROOT / "docs/walks.md").read_text(), re.MULTILINE)
    assert len(numbered) == len(HOPS) > 20


@pytest.mark.parametrize(("file", "symbol"), HOPS)
def test_hop_exists(file: str, symbol: str) -> None:
    """Renaming a thing means walking the walk again."""
    assert symbol in symbols(ROOT / file)
