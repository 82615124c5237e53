"""Which ports of a cluster somebody else holds, and what an operator can do about it.

Binds ports for a moment and looks at processes; starts and ends nothing. Any thread; blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from daemon import ports
from daemon.errors import PortInUse
from daemon.settings_check import listening
from mlxconsole.local.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.settings import Settings

FLAGS = {"api.port": "--port", "port": "--grpc-port", "control_port": "--control-port"}
"""Of `up`, by the last word of what they move."""
SUPERVISORS = ("daemon.cli", "mlx-daemon")


def check_ports(settings: Settings, ranks: Sequence[int], patience_s: float = 0.0) -> None:
    """Refuse to start ``ranks`` where somebody else listens.

    Raises:
        PortInUse: names all such ports, their holders, and the flags that move ours.
    """
    own = {f"rank {rank} {name}" for rank in ranks for name in ("port", "control_port")}
    own |= {"api.port"} if 0 in ranks else set()
    taken: list[tuple[str, str, int]] = []
    for owner, host, port in listening(settings):
        if owner in own:
            try:
                ports.check_free(host, port, owner, patience_s)
            except PortInUse:
                taken.append((owner, host, port))
    if taken:
        raise PortInUse(_words(taken))


def _words(taken: Sequence[tuple[str, str, int]]) -> str:
    pids = [ports.holder_pid(port) for _, _, port in taken]
    which = [
        f"{owner} {host}:{port} is taken by {ports.process_words(pid)}"
        for (owner, host, port), pid in zip(taken, pids, strict=True)
    ]
    flags = dict.fromkeys(FLAGS[owner.split()[-1]] for owner, _, _ in taken)
    ends = dict.fromkeys(what_ends(pid) for pid in pids if pid)
    free = f", or free them: {', '.join(ends)}" if ends else ""
    return f"{'; '.join(which)}: choose others with {', '.join(flags)}{free}"


def what_ends(pid: int) -> str:
    """What ends a process for good: a supervisor would start its worker again."""
    try:
        holder = psutil.Process(pid)
        family = [holder, *holder.parents()]
    except psutil.Error:
        family = []
    for process in family:
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        state = _state_of(process.pid, words)
        if state is not None:
            return f"`mlxconsole down{state.flag}`"
        if any(word.endswith(SUPERVISORS) for word in words):
            return f"end process {process.pid}"
    return f"end process {pid}"


def _state_of(pid: int, words: Sequence[str]) -> StateDir | None:
    """The state folder in which this process is a rank's supervisor."""
    if "--state-dir" not in words[:-1]:
        return None
    state = StateDir(Path(words[words.index("--state-dir") + 1]))
    return state if any(mark.pid == pid for mark in state.marks().values()) else None
