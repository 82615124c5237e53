"""A few words of LLVM IR that all kernels are written in: loops, vectors, number formats.

Sums are never re-associated (no fast-math flags), so what a kernel adds up in which order is what
its source says, on any processor. Knows no kernel.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from llvmlite import ir

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

I1, I8, I16 = ir.IntType(1), ir.IntType(8), ir.IntType(16)
I32, I64 = ir.IntType(32), ir.IntType(64)
F32, F16, PTR = ir.FloatType(), ir.HalfType(), ir.PointerType()
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
BF16_ROUND = 0x7FFF
PREFETCH = (0, 2, 1)
"""Of llvm.prefetch: read, keep in the second-level cache, data."""

Value = Any
"""An `ir.Value`; llvmlite's classes are untyped."""


def i64(value: int) -> Value:
    """A constant."""
    return ir.Constant(I64, value)


def kernel_function(module: ir.Module, name: str) -> ir.Function:
    """``void name(int64 *arguments, int64 chunk)``, the form of every kernel."""
    return ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, I64]), name)


class Emit:
    """Writes one function; vectors are ``lanes`` floats wide."""

    def __init__(self, function: ir.Function, lanes: int) -> None:
        self.function = function
        self.lanes = lanes
        self.b = ir.IRBuilder(function.append_basic_block())
        self.vector = ir.VectorType(F32, lanes)

    # ---- arguments and addresses

    def argument(self, index: int) -> Value:
        """Integer ``index`` of the argument block."""
        return self.load_at(self.function.args[0], index * 8, I64)

    def pointer(self, index: int) -> Value:
        """Address ``index`` of the argument block."""
        return self.load_at(self.function.args[0], index * 8, PTR)

    def chunk(self, size: Value, count: Value) -> tuple[Value, Value]:
        """First and end of this call's chunk of ``size`` items out of ``count``."""
        first = self.mul(self.function.args[1], size)
        return first, self.least(self.add(first, size), count)

    def number(self, index: int) -> Value:
        """The float32 in the low half of argument ``index``."""
        return self.load_at(self.function.args[0], index * 8, F32)

    def at(self, base: Value, offset_bytes: Value | int) -> Value:
        """``base`` plus bytes."""
        offset = i64(offset_bytes) if isinstance(offset_bytes, int) else offset_bytes
        return self.b.gep(base, [offset], source_etype=I8)

    def load_at(self, base: Value, offset_bytes: Value | int, kind: ir.Type) -> Value:
        """One value of any alignment."""
        return self.b.load(self.at(base, offset_bytes), typ=kind, align=1)

    def store_at(self, value: Value, base: Value, offset_bytes: Value | int) -> None:
        """One value at any alignment."""
        self.b.store(value, self.at(base, offset_bytes), align=1)

    def prefetch(self, place: Value) -> None:
        """Ask for the line at an address, which may be nowhere."""
        name = "llvm.prefetch.p0"
        found = self.function.module.globals.get(name)
        if found is None:
            kind = ir.FunctionType(ir.VoidType(), [PTR, I32, I32, I32])
            found = ir.Function(self.function.module, kind, name)
        self.b.call(found, [place, *(ir.Constant(I32, value) for value in PREFETCH)])

    def scratch(self, size_bytes: Value | int) -> Value:
        """Memory of this call, on its stack; ask for it before any loop."""
        pointer: Any = self.b.alloca(I8, self._int(size_bytes))
        pointer.align = 64
        pointer.type = PTR
        return pointer

    # ---- integers

    def add(self, *terms: Value | int) -> Value:
        """Sum of 64-bit integers."""
        total = self._int(terms[0])
        for term in terms[1:]:
            total = self.b.add(total, self._int(term))
        return total

    def mul(self, *factors: Value | int) -> Value:
        """Product of 64-bit integers."""
        total = self._int(factors[0])
        for factor in factors[1:]:
            total = self.b.mul(total, self._int(factor))
        return total

    def least(self, one: Value, two: Value) -> Value:
        """The smaller of two 64-bit integers."""
        return self.b.select(self.b.icmp_signed("<", one, two), one, two)

    def _int(self, value: Value | int) -> Value:
        return i64(value) if isinstance(value, int) else value

    # ---- control

    def loop(
        self,
        start: Value | int,
        stop: Value | int,
        step: Value | int,
        body: Callable[[Value, list[Value]], Sequence[Value] | None],
        state: Sequence[Value] = (),
    ) -> list[Value]:
        """``for i in range(start, stop, step)``; ``body`` maps the carried values to the next."""
        b, first = self.b, self.b.block
        head, inside, after = (self.function.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(self._int(start), first)
        carried = [b.phi(value.type) for value in state]
        for phi, value in zip(carried, state, strict=True):
            phi.add_incoming(value, first)
        b.cbranch(b.icmp_signed("<", index, self._int(stop)), inside, after)
        b.position_at_end(inside)
        new = list(body(index, carried) or ())
        index.add_incoming(self.add(index, step), b.block)
        for phi, value in zip(carried, new, strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return carried

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        """Run ``body`` if ``condition``."""
        with self.b.if_then(condition):
            body()

    def finish(self) -> None:
        """End the function."""
        self.b.ret_void()

    # ---- vectors

    def splat(self, value: Value, lanes: int | None = None) -> Value:
        """A vector whose lanes are all ``value``."""
        kind = ir.VectorType(value.type, lanes or self.lanes)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, lanes or self.lanes), [0] * (lanes or self.lanes))
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def constant(self, value: float) -> Value:
        """A vector of one float32 number."""
        rounded = struct.unpack("f", struct.pack("f", value))[0]
        return ir.Constant(self.vector, [ir.Constant(F32, rounded)] * self.lanes)

    def integers(self, values: Sequence[int], kind: ir.Type = I32) -> Value:
        """A constant vector."""
        return ir.Constant(ir.VectorType(kind, len(values)), list(values))

    def splat_constant(self, kind: ir.VectorType, value: int) -> Value:
        """A constant vector of one whole number."""
        return ir.Constant(kind, [value] * kind.count)

    def deposit(self, value: Value, mask: Value) -> Value:
        """The low bits of ``value`` at the places where ``mask`` has ones (BMI2)."""
        name = "llvm.x86.bmi.pdep.64"
        found = self.function.module.globals.get(name)
        if found is None:
            kind = ir.FunctionType(I64, [I64, I64])
            found = ir.Function(self.function.module, kind, name)
        return self.b.call(found, [value, mask])

    def call(self, name: str, *arguments: Value) -> Value:
        """A LLVM intrinsic on values of one type, such as `fma` or `rint`."""
        kind = arguments[0].type
        count = getattr(kind, "count", 0)
        suffix = f"v{count}f32" if count else "f32"
        full = f"llvm.{name}.{suffix}"
        found = self.function.module.globals.get(full)
        if found is None:
            signature = ir.FunctionType(kind, [kind] * len(arguments))
            found = ir.Function(self.function.module, signature, full)
        return self.b.call(found, list(arguments))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c``, rounded once."""
        return self.call("fma", a, b, c)

    def fold(self, vector: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined into one value: halves first, always in the same order."""
        count = vector.type.count
        while count > 1:
            count //= 2
            low = self.b.shuffle_vector(vector, vector, self.integers(range(count)))
            high = self.b.shuffle_vector(vector, vector, self.integers(range(count, 2 * count)))
            vector = combine(low, high)
        return self.b.extract_element(vector, ir.Constant(I32, 0))

    def total(self, vector: Value) -> Value:
        """Sum of all lanes."""
        return self.fold(vector, self.b.fadd)

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """As many vectors as each has lanes, turned."""
        count, turned = len(rows), list(rows)
        lanes = range(count)
        step = 1
        while step < count:
            upper = self.integers([j if not j & step else count + j - step for j in lanes])
            lower = self.integers([j + step if not j & step else count + j for j in lanes])
            for i in lanes:
                if not i & step:
                    pair = turned[i], turned[i + step]
                    turned[i] = self.b.shuffle_vector(*pair, upper)
                    turned[i + step] = self.b.shuffle_vector(*pair, lower)
            step *= 2
        return turned

    # ---- number formats

    def load(
        self, base: Value, offset_bytes: Value | int, dtype: str, lanes: int | None = None
    ) -> Value:
        """``lanes`` numbers of ``dtype`` as float32 (a scalar for 0 lanes)."""
        lanes = self.lanes if lanes is None else lanes
        if dtype == "float32":
            return self.load_at(base, offset_bytes, _of(F32, lanes))
        if dtype == "float16":
            return self.b.fpext(self.load_at(base, offset_bytes, _of(F16, lanes)), _of(F32, lanes))
        bits = self.b.zext(self.load_at(base, offset_bytes, _of(I16, lanes)), _of(I32, lanes))
        return self.b.bitcast(self.b.shl(bits, _int_of(16, lanes)), _of(F32, lanes))

    def store(self, value: Value, base: Value, offset_bytes: Value | int, dtype: str) -> None:
        """A float32 vector or scalar as ``dtype``, rounded to nearest even."""
        self.store_at(self._narrow(value, dtype), base, offset_bytes)

    def round_to(self, value: Value, dtype: str) -> Value:
        """What is left of a float32 after it was stored as ``dtype``."""
        if dtype == "float32":
            return value
        lanes = getattr(value.type, "count", 0)
        narrow = self._narrow(value, dtype)
        if dtype == "float16":
            return self.b.fpext(narrow, _of(F32, lanes))
        bits = self.b.shl(self.b.zext(narrow, _of(I32, lanes)), _int_of(16, lanes))
        return self.b.bitcast(bits, _of(F32, lanes))

    def _narrow(self, value: Value, dtype: str) -> Value:
        lanes = getattr(value.type, "count", 0)
        if dtype == "float32":
            return value
        if dtype == "float16":
            return self.b.fptrunc(value, _of(F16, lanes))
        bits = self.b.bitcast(value, _of(I32, lanes))
        odd = self.b.and_(self.b.lshr(bits, _int_of(16, lanes)), _int_of(1, lanes))
        up = self.b.add(bits, self.b.add(odd, _int_of(BF16_ROUND, lanes)))
        return self.b.trunc(self.b.lshr(up, _int_of(16, lanes)), _of(I16, lanes))


def _of(kind: ir.Type, lanes: int) -> ir.Type:
    return ir.VectorType(kind, lanes) if lanes else kind


def _int_of(value: int, lanes: int) -> Value:
    return ir.Constant(_of(I32, lanes), [value] * lanes if lanes else value)
