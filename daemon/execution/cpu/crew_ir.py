"""The thread crew: chunks of one kernel handed out by a counter, and sleep in between.

Nobody spins and nobody owns a share: who is on a busy core just takes fewer chunks. Sleeping and
waking is the C library's semaphore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.emit import I32, I64, PTR, Emit, i64

if TYPE_CHECKING:
    from daemon.execution.cpu.emit import Value

# Job block, int64 each; the last two are semaphores.
LEFT, DONE_COUNT, TOTAL, KERNEL, ARGUMENTS, STOP, START, DONE = 0, 1, 2, 3, 4, 5, 8, 16
JOB_WORDS = 24
STEP_WORDS = 4
"""Of a program: helpers, chunks, kernel, arguments."""
KERNEL_TYPE = ir.FunctionType(ir.VoidType(), [PTR, I64])


def emit_crew(module: ir.Module, name: str, lanes: int) -> None:
    """``name(job, helpers, total, kernel, arguments)`` and ``name_helper(job)``."""
    work = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR]), "work")
    work.linkage = "internal"
    _emit_work(work, lanes)
    _emit_helper(module, name + "_helper", lanes, work)
    _emit_run(module, name, lanes, work)
    _emit_program(module, name + "_program", lanes, module.globals[name])
    signature = ir.FunctionType(I32, [PTR, I32, I32])
    prepare = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR]), name + "_prepare")
    e = Emit(prepare, lanes)
    init = ir.Function(module, signature, "sem_init")
    for place in (START, DONE):
        e.b.call(init, [e.at(prepare.args[0], place * 8), ir.Constant(I32, 0), ir.Constant(I32, 0)])
    e.finish()


def _semaphore(e: Emit, what: str, job: Value, place: int) -> Value:
    module = e.function.module
    found = module.globals.get(what) or ir.Function(module, ir.FunctionType(I32, [PTR]), what)
    return e.b.call(found, [e.at(job, place * 8)])


def _wait(e: Emit, job: Value, place: int) -> None:
    """Wait for a semaphore; a signal handler that runs meanwhile does not end the wait."""
    again, after = e.function.append_basic_block(), e.function.append_basic_block()
    e.b.branch(again)
    e.b.position_at_end(again)
    result = _semaphore(e, "sem_wait", job, place)
    e.b.cbranch(e.b.icmp_signed("==", result, ir.Constant(I32, 0)), after, again)
    e.b.position_at_end(after)


def _emit_work(function: ir.Function, lanes: int) -> None:
    """Take chunks until none is left; who ends the last one says so."""
    e = Emit(function, lanes)
    (job,) = function.args
    head, inside, last, after = (function.append_basic_block() for _ in range(4))
    e.b.branch(head)
    e.b.position_at_end(head)
    left = e.b.atomic_rmw("sub", e.at(job, LEFT * 8), i64(1), "acq_rel")
    e.b.cbranch(e.b.icmp_signed(">", left, i64(0)), inside, after)
    e.b.position_at_end(inside)
    kernel, arguments = e.load_at(job, KERNEL * 8, PTR), e.load_at(job, ARGUMENTS * 8, PTR)
    total = e.load_at(job, TOTAL * 8, I64)
    call_kernel(e, kernel, arguments, e.b.sub(total, left))
    ended = e.b.atomic_rmw("add", e.at(job, DONE_COUNT * 8), i64(1), "acq_rel")
    e.b.cbranch(e.b.icmp_signed("==", e.add(ended, 1), total), last, head)
    e.b.position_at_end(last)
    _semaphore(e, "sem_post", job, DONE)
    e.b.branch(after)
    e.b.position_at_end(after)
    e.finish()


def _emit_helper(module: ir.Module, name: str, lanes: int, work: ir.Function) -> None:
    e = Emit(ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR]), name), lanes)
    (job,) = e.function.args
    again, go_on, after = (e.function.append_basic_block() for _ in range(3))
    e.b.branch(again)
    e.b.position_at_end(again)
    _wait(e, job, START)
    stop = e.b.load_atomic(e.at(job, STOP * 8), "acquire", 8, typ=I64)
    e.b.cbranch(e.b.icmp_signed("!=", stop, i64(0)), after, go_on)
    e.b.position_at_end(go_on)
    e.b.call(work, [job])
    e.b.branch(again)
    e.b.position_at_end(after)
    e.finish()


def _emit_run(module: ir.Module, name: str, lanes: int, work: ir.Function) -> None:
    kind = ir.FunctionType(ir.VoidType(), [PTR, I64, I64, PTR, PTR])
    e = Emit(ir.Function(module, kind, name), lanes)
    job, helpers, total, kernel, arguments = e.function.args
    alone = e.b.or_(e.b.icmp_signed("==", helpers, i64(0)), e.b.icmp_signed("<=", total, i64(1)))
    with e.b.if_else(alone) as (by_itself, together):
        with by_itself:
            e.loop(0, total, 1, lambda chunk, _: call_kernel(e, kernel, arguments, chunk))
        with together:
            for value, place in (
                (kernel, KERNEL),
                (arguments, ARGUMENTS),
                (total, TOTAL),
                (i64(0), DONE_COUNT),
            ):
                e.store_at(value, job, place * 8)
            # From here on a helper that wakes late, for an earlier job, may take chunks too.
            e.b.atomic_rmw("xchg", e.at(job, LEFT * 8), total, "release")
            e.loop(0, e.least(helpers, e.b.sub(total, i64(1))), 1, lambda _index, _: _post(e, job))
            e.b.call(work, [job])
            _wait(e, job, DONE)
    e.finish()


def _emit_program(module: ir.Module, name: str, lanes: int, run: ir.Function) -> None:
    """``name(job, steps, count)``: each step's words are what ``run`` takes after the job."""
    e = Emit(ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, PTR, I64]), name), lanes)
    job, steps, count = e.function.args

    def step(index: Value, _: list[Value]) -> None:
        here = e.at(steps, e.mul(index, STEP_WORDS * 8))
        kinds = (I64, I64, PTR, PTR)
        e.b.call(run, [job, *(e.load_at(here, at * 8, kind) for at, kind in enumerate(kinds))])

    e.loop(0, count, 1, step)
    e.finish()


def _post(e: Emit, job: Value) -> None:
    _semaphore(e, "sem_post", job, START)


def call_kernel(e: Emit, kernel: Value, arguments: Value, chunk: Value) -> None:
    """Call the kernel at an address."""
    e.b.call(_Typed(kernel), [arguments, chunk])


class _Typed:
    """A kernel's address with the type that llvmlite wants for a call."""

    def __init__(self, pointer: Value) -> None:
        self.pointer = pointer
        self.function_type = KERNEL_TYPE
        self.type = KERNEL_TYPE.as_pointer()

    def get_reference(self) -> str:
        """How the address is written."""
        return self.pointer.get_reference()
