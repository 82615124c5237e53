"""Asks the worker for its last steps and hands them to whoever wants them.

Runs on the supervisor's event loop. The question goes down the lifeline, the answer comes up the
report pipe; rows are arrays in the order of control.proto's TraceStep.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from daemon.errors import NotReady
from protos import control_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.supervision.reports import AnswerReport

MOST_STEPS = 512
ANSWER_TIMEOUT_S = 1.5
_FIELDS = tuple(control_pb2.TraceStep.DESCRIPTOR.fields_by_name)


class Traces:
    """Questions that have not been answered yet."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[list[Any]]] = {}

    async def ask(
        self, command: Callable[[dict[str, object]], None], sequence: int, most: int
    ) -> list[control_pb2.TraceStep]:
        """The last steps, or those of one sequence, oldest first.

        Raises:
            NotReady: there is no worker, or it does not answer in time.
        """
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        most = min(most or MOST_STEPS, MOST_STEPS)
        try:
            command({"do": "trace", "command": number, "sequence": sequence, "most": most})
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                rows = await answer
            return [_step(row) for row in rows[:MOST_STEPS]]
        except (TimeoutError, TypeError, ValueError) as error:
            raise NotReady(f"the worker did not tell its steps: {error or 'no answer'}") from error
        finally:
            del self._waiting[number]

    def answered(self, report: AnswerReport) -> None:
        """Take an answer of the worker."""
        waiting = self._waiting.get(report.command)
        if waiting is not None and not waiting.done():
            waiting.set_result(report.rows)


def _step(row: Any) -> control_pb2.TraceStep:
    return control_pb2.TraceStep(**dict(zip(_FIELDS, row, strict=True)))
