"""Turns IR into machine code for this processor, and keeps it on disk for the next start.

A cached file carries the digest of its content, so a damaged one is built anew; files are written
beside and moved into place, so ranks may start together. Where nothing can be written, code is
built at each start. Engine thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite
import llvmlite.binding as llvm
import platformdirs

if TYPE_CHECKING:
    from collections.abc import Callable

    Emitter = Callable[[Any, str, int], None]

DIGEST_BYTES = 32
_ASK_FOR_TILES = (158, 0x1023, 18)
"""arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)"""
AVX2, AVX2_FEATURES = "x86-64-v3", ("avx2", "bmi2", "f16c", "fma")
"""The least processor that is fast, as LLVM calls it: x86 since 2013, without AVX-512 and tiles."""
SOURCES = ("*_ir.py", "emit.py", "machine.py")
"""Files whose change makes cached code stale."""


class Machine:
    """This processor, its compiler, and the code that is loaded."""

    def __init__(
        self, folder: Path | None = None, *, tiles: bool = True, wide: bool = True
    ) -> None:
        """Look at the processor.

        Args:
            folder: of compiled code.
            tiles: whether to use tile registers where there are some.
            wide: whether an x86 processor may be asked for more than AVX2.
        """
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._folder = folder or Path(platformdirs.user_cache_dir("mlxconsole")) / "kernels"
        is_x86 = llvm.get_default_triple().startswith("x86")
        self._processor, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
        if is_x86 and not wide:
            self._processor, features = AVX2, llvm.FeatureMap(dict.fromkeys(AVX2_FEATURES, True))
        self.lanes = 16 if features.get("avx512f") and features.get("avx512bw") else 8
        """Floats of a vector: fixed per processor, for it decides the order of sums."""
        self.has_fma = bool(features.get("fma")) or not is_x86
        """Without it, each multiply-add would be a call."""
        needed = ("avx512f", "avx512bw", "bmi2", "amx-tile", "amx-int8", "amx-bf16")
        self.has_tiles = tiles and all(map(features.get, needed)) and _allowed_tiles()
        flags = features.flatten() + (",-prefer-256-bit" if self.lanes == 16 else "")
        self._features = flags
        self._target = llvm.Target.from_default_triple().create_target_machine(
            cpu=self._processor, features=flags, opt=3, reloc="pic", codemodel="small"
        )
        empty = llvm.parse_assembly("")
        self._engine = llvm.create_mcjit_compiler(empty, self._target)
        self._addresses: dict[str, tuple[int, ...]] = {}
        self.compiled = 0
        """Kernels that were not in the cache."""

    def address(self, name: str, emit: Emitter) -> int:
        """Where the kernel ``name`` starts; ``emit(module, name, lanes)`` writes it."""
        return self.addresses(name, (name,), emit)[0]

    def addresses(self, name: str, functions: tuple[str, ...], emit: Emitter) -> tuple[int, ...]:
        """The same for several functions that are written together."""
        if name not in self._addresses:
            self._load(name, functions, emit)
        return self._addresses[name]

    def is_cached(self, name: str) -> bool:
        """Whether `address` needs no compiler."""
        return name in self._addresses or self._read(name) is not None

    def _load(self, name: str, functions: tuple[str, ...], emit: Emitter) -> None:
        code = self._read(name)
        if code is None:
            code = self._compile(name, emit)
            self._write(name, code)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        found = (self._engine.get_function_address(function) for function in functions)
        self._addresses[name] = tuple(found)

    def _compile(self, name: str, emit: Emitter) -> bytes:
        from llvmlite import ir  # noqa: PLC0415 - not needed by a warm start

        source = ir.Module(name)
        source.triple = llvm.get_default_triple()
        source.data_layout = str(self._target.target_data)
        emit(source, name, self.lanes)
        module = llvm.parse_assembly(str(source))
        module.verify()
        tuning = llvm.create_pipeline_tuning_options(speed_level=2)
        tuning.loop_vectorization = tuning.slp_vectorization = False
        tuning.loop_unrolling = False
        builder = llvm.create_pass_builder(self._target, tuning)
        builder.getModulePassManager().run(module, builder)
        self.compiled += 1
        return self._target.emit_object(module)

    def _path(self, name: str) -> Path:
        key = f"{name} {self._processor} {self._features} {_source_digest()}"
        return self._folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.o"

    def _read(self, name: str) -> bytes | None:
        with contextlib.suppress(OSError):
            data = self._path(name).read_bytes()
            if hashlib.sha256(data[DIGEST_BYTES:]).digest() == data[:DIGEST_BYTES]:
                return data[DIGEST_BYTES:]
        return None

    def _write(self, name: str, code: bytes) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            Path(beside).replace(self._path(name))


@cache
def _allowed_tiles() -> bool:
    """Ask for tile registers; Linux gives them to a process that asks, as long as it lives."""
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None).syscall(*_ASK_FOR_TILES) == 0


@cache
def machine() -> Machine:
    """The one of this process."""
    return Machine()


@cache
def _source_digest() -> str:
    here = Path(__file__).parent
    files = [path for pattern in SOURCES for path in sorted(here.glob(pattern))]
    parts = [llvmlite.__version__.encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"".join(parts)).hexdigest()
