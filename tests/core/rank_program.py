"""One rank of a test world, in a process of its own: runs the checks that the test names.

Reads one JSON line per check from stdin and answers with one line; the end of stdin ends it.
`python -m tests.core.rank_program '{"rank": 0, "addresses": ...}'`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from daemon.comm.communicator import Communicator
from daemon.comm.settings import CommSettings
from tests.core import rank_data_checks, rank_link_checks

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKS: dict[str, Callable[..., Any]] = {
    check.__name__: check for check in (*rank_data_checks.CHECKS, *rank_link_checks.CHECKS)
}


def main() -> None:
    """Serve checks until stdin ends."""
    spec = json.loads(sys.argv[1])
    spec["addresses"] = tuple((host, port) for host, port in spec["addresses"])
    world = Communicator(CommSettings(**spec))
    world.start()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"result": CHECKS[order["check"]](world, **order["args"])}
        except Exception:  # noqa: BLE001 - the process's boundary: the test shows it
            answer = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    begin = time.monotonic()
    world.close()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("comm-")]
    sys.stdout.write(json.dumps({"result": [time.monotonic() - begin, left]}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
