"""Many calls of linear kernels as the chunks of one, so that threads share them all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.execution.cpu.crew_ir import call_kernel
from daemon.execution.cpu.emit import PTR, Emit, kernel_function
from daemon.execution.cpu.linear_ir import W_ROW

if TYPE_CHECKING:
    from llvmlite import ir

CHUNKS = 0
"""Of each call. The argument blocks of the calls follow."""
KERNEL = W_ROW + 1
"""Where a block has its kernel, behind the arguments of a linear one."""
BLOCK_WORDS = KERNEL + 1


def emit_calls(module: ir.Module, name: str, lanes: int) -> None:
    """Chunk c is chunk c % CHUNKS of call c // CHUNKS."""
    e = Emit(kernel_function(module, name), lanes)
    arguments, chunk = e.function.args
    chunks = e.argument(CHUNKS)
    number = e.b.sdiv(chunk, chunks)
    block = e.at(arguments, e.add(e.mul(number, BLOCK_WORDS * 8), 8))
    call_kernel(e, e.load_at(block, KERNEL * 8, PTR), block, e.b.srem(chunk, chunks))
    e.finish()
