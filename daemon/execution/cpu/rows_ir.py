"""The kernels between linear layers: RMS norm, rotary positions, gated activation.

Each works row by row or item by item, in one order: results never depend on neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.emit import F32, I32, ITEM_BYTES, Emit, i64, kernel_function

if TYPE_CHECKING:
    from daemon.execution.cpu.emit import Value

# Argument blocks
NORM_X, NORM_W, NORM_Y, NORM_ROWS, NORM_DIM, NORM_CHUNK, NORM_EPS = range(7)
GATE, UP, GATED, GATED_COUNT, GATED_CHUNK = range(5)
ROPE_X, ROPE_Y, ROPE_COS, ROPE_SIN, ROPE_HEADS, ROPE_LENGTH, ROPE_DIM, ROPE_HALF = range(8)
ROPE_TABLE, ROPE_BATCH, ROPE_HEAD, ROPE_ROW = range(8, 12)
"""Strides in bytes: of the tables per batch item, of x per batch item, head and position."""

LOG2_E, LN2_HIGH, LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
EXP_POLYNOMIAL = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
"""Cephes expf."""
LEAST_EXPONENT, MOST_EXPONENT = -87.0, 88.0


def exponential(e: Emit, x: Value) -> Value:
    """E ** x of a vector to 1 or 2 units in the last place; 0 below -87, no more than at 88."""
    most = e.constant(MOST_EXPONENT)
    bounded = e.b.select(e.b.fcmp_ordered("<", x, most), x, most)
    count = e.call("rint", e.b.fmul(bounded, e.constant(LOG2_E)))
    rest = e.fma(count, e.constant(-LN2_HIGH), bounded)
    rest = e.fma(count, e.constant(-LN2_LOW), rest)
    total = e.constant(EXP_POLYNOMIAL[0])
    for coefficient in EXP_POLYNOMIAL[1:]:
        total = e.fma(total, rest, e.constant(coefficient))
    total = e.fma(total, e.b.fmul(rest, rest), e.b.fadd(rest, e.constant(1.0)))
    tiny = e.b.fcmp_ordered("<", x, e.constant(LEAST_EXPONENT))
    safe = e.b.select(tiny, e.constant(0.0), count)
    whole = e.b.fptosi(safe, ir.VectorType(I32, e.lanes))
    power = e.b.shl(e.b.add(whole, e.integers([127] * e.lanes)), e.integers([23] * e.lanes))
    result = e.b.fmul(total, e.b.bitcast(power, e.vector))
    return e.b.select(tiny, e.constant(0.0), result)


def emit_rms_norm(module: ir.Module, name: str, lanes: int, dtype: str) -> None:
    """Y = weight * (x / root of the mean square); a chunk is a few rows."""
    e = Emit(kernel_function(module, name), lanes)
    x, weight, y = e.pointer(NORM_X), e.pointer(NORM_W), e.pointer(NORM_Y)
    dim, epsilon = e.argument(NORM_DIM), e.number(NORM_EPS)
    first, last = e.chunk(e.argument(NORM_CHUNK), e.argument(NORM_ROWS))
    item = ITEM_BYTES[dtype]

    def row(r: Value, _: list[Value]) -> None:
        line = e.mul(r, dim, item)
        source, target = e.at(x, line), e.at(y, line)

        def square(at: Value, state: list[Value]) -> list[Value]:
            value = e.load(source, e.mul(at, item), dtype)
            return [e.fma(value, value, state[0])]

        (squares,) = e.loop(0, dim, lanes, square, [e.constant(0.0)])
        mean = e.b.fdiv(e.total(squares), e.b.sitofp(dim, F32))
        root = e.call("sqrt", e.b.fadd(mean, epsilon))
        factor = e.splat(e.b.fdiv(ir.Constant(F32, 1.0), root))

        def scale(at: Value, _: list[Value]) -> None:
            place = e.mul(at, item)
            normal = e.round_to(e.b.fmul(e.load(source, place, dtype), factor), dtype)
            e.store(e.b.fmul(e.load(weight, place, dtype), normal), target, place, dtype)

        e.loop(0, dim, lanes, scale)

    e.loop(first, last, 1, row)
    e.finish()


def emit_swiglu(module: ir.Module, name: str, lanes: int, dtype: str) -> None:
    """Y = gate * sigmoid(gate) * up; a chunk is a number of items."""
    e = Emit(kernel_function(module, name), lanes)
    gate, up, y = e.pointer(GATE), e.pointer(UP), e.pointer(GATED)
    first, last = e.chunk(e.argument(GATED_CHUNK), e.argument(GATED_COUNT))
    item = ITEM_BYTES[dtype]

    def position(at: Value, _: list[Value]) -> None:
        place = e.mul(at, item)
        g = e.load(gate, place, dtype)
        below = e.b.fadd(e.constant(1.0), exponential(e, e.b.fsub(e.constant(0.0), g)))
        active = e.b.fdiv(g, below)
        e.store(e.b.fmul(active, e.load(up, place, dtype)), y, place, dtype)

    e.loop(first, last, lanes, position)
    e.finish()


def emit_sum(module: ir.Module, name: str, lanes: int, dtype: str) -> None:
    """Y = one + two; a chunk is a number of items. Arguments like those of swiglu."""
    e = Emit(kernel_function(module, name), lanes)
    one, two, y = e.pointer(GATE), e.pointer(UP), e.pointer(GATED)
    first, last = e.chunk(e.argument(GATED_CHUNK), e.argument(GATED_COUNT))

    def position(at: Value, _: list[Value]) -> None:
        place = e.mul(at, ITEM_BYTES[dtype])
        total = e.b.fadd(e.load(one, place, dtype), e.load(two, place, dtype))
        e.store(total, y, place, dtype)

    e.loop(first, last, lanes, position)
    e.finish()


def emit_rope(module: ir.Module, name: str, lanes: int, dtype: str) -> None:
    """Turn pairs (i, i + half) of each head by the angle of its position.

    x: (batch, heads, length, dim) with any strides; y: contiguous; tables: (batch, length, half).
    A chunk is one head.
    """
    e = Emit(kernel_function(module, name), lanes)
    x, y, cosines, sines = (e.pointer(i) for i in (ROPE_X, ROPE_Y, ROPE_COS, ROPE_SIN))
    heads, length, dim = e.argument(ROPE_HEADS), e.argument(ROPE_LENGTH), e.argument(ROPE_DIM)
    half, chunk = e.argument(ROPE_HALF), e.function.args[1]
    batch, head = e.b.sdiv(chunk, heads), e.b.srem(chunk, heads)
    item = ITEM_BYTES[dtype]
    base = e.add(e.mul(batch, e.argument(ROPE_BATCH)), e.mul(head, e.argument(ROPE_HEAD)))
    table = e.mul(batch, e.argument(ROPE_TABLE))
    step = e.argument(ROPE_ROW)

    def row(r: Value, _: list[Value]) -> None:
        source = e.at(x, e.add(base, e.mul(r, step)))
        target = e.at(y, e.mul(e.add(e.mul(chunk, length), r), dim, item))
        angles = e.add(table, e.mul(r, half, 4))

        def pair(at: Value, _: list[Value]) -> None:
            near, far = e.mul(at, item), e.mul(e.add(at, half), item)
            a, b = e.load(source, near, dtype), e.load(source, far, dtype)
            place = e.add(angles, e.mul(at, 4))
            cosine = e.load_at(cosines, place, e.vector)
            sine = e.load_at(sines, place, e.vector)
            minus = e.b.fsub(e.constant(0.0), e.b.fmul(b, sine))
            e.store(e.fma(a, cosine, minus), target, near, dtype)
            e.store(e.fma(a, sine, e.b.fmul(b, cosine)), target, far, dtype)

        def rest(at: Value, _: list[Value]) -> None:
            place = e.mul(at, item)
            e.store(e.load(source, place, dtype), target, place, dtype)

        e.loop(0, half, lanes, pair)
        e.loop(e.mul(half, i64(2)), dim, lanes, rest)

    e.loop(0, length, 1, row)
    e.finish()
