"""Which rows go to which expert of a mixture, and the rows in that order. Engine thread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from daemon.execution.cpu.arrays import items_at, numbers

if TYPE_CHECKING:
    import mlx.core as mx
    import numpy.typing as npt

    from daemon.execution.cpu.arrays import Output, View

    Integers = npt.NDArray[np.int64]


class Call(NamedTuple):
    """Rows that one expert takes together."""

    expert: int
    first: int
    """Place of its first row among those of all calls."""
    rows: int


@dataclass(frozen=True)
class Routes:
    """Indices of experts, each beside a row, as calls."""

    calls: list[Call]
    sources: Integers
    """The row that each place of the calls takes."""
    order: Integers | None
    """The index that each place of the calls answers; None: as they are."""

    @staticmethod
    def of(rows: Integers, experts: Integers, most_rows: int) -> Routes:
        """For pairs of a row and an expert, at most ``most_rows`` a call."""
        chosen, count = experts.tolist(), len(experts)
        if len(set(chosen)) == count:  # nobody has company: all may stay where they are
            return Routes([Call(expert, i, 1) for i, expert in enumerate(chosen)], rows, None)
        order = experts.argsort(kind="stable")
        chosen = experts[order].tolist()
        calls: list[Call] = []
        first = 0
        for place in range(1, count + 1):
            if place == count or chosen[place] != chosen[first] or place - first == most_rows:
                calls.append(Call(chosen[first], first, place - first))
                first = place
        return Routes(calls, rows[order], order)

    def gather(self, view: View, rows: int, row_bytes: int, memory: Output) -> list[int]:
        """Where the rows of each call lie one after another, of all that ``view`` is of."""
        count = len(self.sources)
        if len(self.calls) == count:
            return [view.address + row_bytes * row for row in self.sources.tolist()]
        base = memory.reserve(count * row_bytes)
        target = items_at(base, count, row_bytes)
        # "clip" only says that nothing need be checked: numpy would keep a copy until it has.
        items_at(view.address, rows, row_bytes).take(self.sources, out=target, mode="clip")
        return [base + call.first * row_bytes for call in self.calls]

    def put_back(self, address: int, row_bytes: int, memory: Output) -> int:
        """Where results at ``address``, in the order of the calls, are in that of the indices."""
        if self.order is None:
            return address
        count = len(self.order)
        target = memory.reserve(count * row_bytes)
        items_at(target, count, row_bytes)[self.order] = items_at(address, count, row_bytes)
        return target


def route(
    indices: mx.array, batch: tuple[int, ...], experts: int, most_rows: int
) -> tuple[Routes, tuple[int, ...]]:
    """The routes of ``indices`` beside rows (*batch), and the shape of both broadcast.

    Raises:
        NotEvaluated: ``indices`` can't be evaluated now.
        IndexError: there is no such expert.
    """
    chosen = numbers(indices)
    least, most = int(chosen.min()), int(chosen.max())
    if least < 0 or most >= experts:
        raise IndexError(f"experts {least} to {most} are asked for, and there are {experts}")
    shape = np.broadcast_shapes(batch, chosen.shape)
    rows = np.arange(math.prod(batch)).reshape(batch)
    rows, chosen = (np.broadcast_to(array, shape).ravel() for array in (rows, chosen))
    return Routes.of(rows, chosen, most_rows), shape
