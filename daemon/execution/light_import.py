"""Imports the parts of mlx-lm that a rank needs without transformers (0.2 s instead of 3 s).

`mlx_lm/__init__` imports its whole command line, and that decides how fast a rank restarts. Knows
nothing of models or ranks. Call it on the engine thread: MLX's random state is per thread.
"""

from __future__ import annotations

import importlib
import logging
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

log = logging.getLogger(__name__)

PACKAGE = "mlx_lm"
# Names that `mlx_lm.utils` asks for on import and that loading weights never calls.
STUBS = {
    "huggingface_hub": ("snapshot_download",),
    f"{PACKAGE}.tokenizer_utils": ("TokenizerWrapper", "load"),
}


@dataclass(frozen=True)
class MlxLm:
    """The modules of mlx-lm that execution uses."""

    utils: Any
    cache: Any
    sample_utils: Any
    light: bool
    """Whether transformers was left out."""


@dataclass
class _Imported:
    modules: MlxLm | None = None
    stash: dict[str, ModuleType] | None = None
    """Our `mlx_lm*` entries of `sys.modules` while we are outside `model_imports`."""


_imported = _Imported()


def mlx_lm() -> MlxLm:
    """The modules, imported once; plainly if mlx-lm is imported already or the light way fails."""
    if _imported.modules is None:
        _imported.modules = _plain() if PACKAGE in sys.modules else _light_or_plain()
    return _imported.modules


@contextmanager
def model_imports() -> Generator[MlxLm]:
    """A block in which mlx-lm may import further model modules (it does so by name).

    Our light package is visible in `sys.modules` only within; so a plain import elsewhere in the
    process gets the whole package, with model classes of its own.
    """
    modules = mlx_lm()
    if _imported.stash is None:
        yield modules
        return
    outer = _take(PACKAGE)
    sys.modules.update(_imported.stash)
    try:
        yield modules
    finally:
        _imported.stash = _take(PACKAGE)
        sys.modules.update(outer)


def _light_or_plain() -> MlxLm:
    try:
        return _light()
    except Exception as error:  # noqa: BLE001 - whatever a new version surprises us with
        log.warning("light_import_failed", extra={"fields": {"reason": repr(error)}})
        _take(PACKAGE)
        return _plain()


def _light() -> MlxLm:
    spec = PathFinder.find_spec(PACKAGE)
    if spec is None:
        raise ModuleNotFoundError(PACKAGE)
    sys.modules[PACKAGE] = module_from_spec(spec)
    stubs = {name: _stub(name, names) for name, names in STUBS.items() if name not in sys.modules}
    sys.modules.update(stubs)
    try:
        modules = _modules(light=True)
    finally:
        for name in stubs:
            del sys.modules[name]
    _imported.stash = _take(PACKAGE)
    return modules


def _plain() -> MlxLm:
    return _modules(light=False)


def _modules(*, light: bool) -> MlxLm:
    return MlxLm(
        utils=importlib.import_module(f"{PACKAGE}.utils"),
        cache=importlib.import_module(f"{PACKAGE}.models.cache"),
        sample_utils=importlib.import_module(f"{PACKAGE}.sample_utils"),
        light=light,
    )


def _stub(name: str, names: tuple[str, ...]) -> ModuleType:
    module = ModuleType(name)
    for attribute in names:
        setattr(module, attribute, object)
    return module


def _take(package: str) -> dict[str, ModuleType]:
    """Remove a package and its modules from `sys.modules`; what was removed."""
    # Over a copy: other threads may import meanwhile (grammars do, on first use).
    names = [name for name in list(sys.modules) if f"{name}.".startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}
