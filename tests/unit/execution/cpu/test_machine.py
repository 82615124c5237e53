"""Compiled kernels on disk: shared, checked, and never in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.execution.cpu import linear_ir
from daemon.execution.cpu.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path


def _emit(module: Any, name: str, lanes: int) -> None:
    linear_ir.emit_pack(module, name, lanes, "float32")


def test_a_second_start_compiles_nothing(tmp_path: Path) -> None:
    """A rank that comes back must not compile while clients wait."""
    first, second = Machine(tmp_path), Machine(tmp_path)
    assert not first.is_cached("pack")
    assert first.address("pack", _emit) > 0
    assert second.is_cached("pack")
    assert second.address("pack", _emit) > 0
    assert (first.compiled, second.compiled) == (1, 0)


def test_a_damaged_file_is_built_anew(tmp_path: Path) -> None:
    """LLVM ends the process when it reads a broken object, so it must not see one."""
    Machine(tmp_path).address("pack", _emit)
    (file,) = tmp_path.glob("*.o")
    data = file.read_bytes()
    for broken in (data[:-7], data[:40], b"", bytes(len(data))):
        file.write_bytes(broken)
        machine = Machine(tmp_path)
        assert machine.address("pack", _emit) > 0
        assert machine.compiled == 1


def test_no_place_to_write_is_no_error(tmp_path: Path) -> None:
    """A read-only home: compiled at each start."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    machine = Machine(blocked / "kernels")
    assert machine.address("pack", _emit) > 0
    assert machine.compiled == 1


def test_nothing_but_whole_files_is_left(tmp_path: Path) -> None:
    """Ranks that start together write beside and move into place."""
    Machine(tmp_path).address("pack", _emit)
    assert [path.suffix for path in tmp_path.iterdir()] == [".o"]
