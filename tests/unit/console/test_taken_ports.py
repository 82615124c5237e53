"""Ports that somebody else holds: all named at once, with what moves ours or ends theirs."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from daemon import settings, settings_text
from daemon.errors import PortInUse
from mlxconsole.local.process_mark import ProcessMark
from mlxconsole.local.state_dir import StateDir
from mlxconsole.local.taken_ports import check_ports, what_ends
from tests.support.ports import free_block

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


@contextmanager
def parent(*words: str) -> Generator[tuple[int, int]]:
    """The pids of a process with these words on its command line, and of its child."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


def test_all_taken_ports_are_named_with_their_holder_and_flag() -> None:
    """Not one after the other, each when the one before has been moved."""
    first = free_block(5)
    ranks = settings.local_ranks(2, first, first + 2)
    values = settings_text.load(None, {}, ranks=ranks, api_port=first + 4)
    check_ports(values, [0, 1])
    with ExitStack() as held:
        for port in (first + 1, first + 2, first + 4):
            taken = held.enter_context(socket.socket())
            taken.bind(("127.0.0.1", port))
            taken.listen()
        with pytest.raises(PortInUse) as refused:
            check_ports(values, [0, 1])
        text = str(refused.value)
        for owner, port in (("api.port", 4), ("rank 1 port", 1), ("rank 0 control_port", 2)):
            assert f"{owner} 127.0.0.1:{first + port} is taken by process {os.getpid()}" in text
        assert text.count("is taken by") == 3
        flags = re.escape("choose others with --port, --control-port, --grpc-port, or free them: ")
        assert re.search(flags, text)
        with pytest.raises(PortInUse) as refused:
            check_ports(values, [1])
        assert "choose others with --grpc-port, or" in str(refused.value)


def test_a_cluster_of_ours_is_ended_by_its_command(tmp_path: Path) -> None:
    """Its supervisor would start a worker that somebody ends again."""
    state = StateDir(tmp_path)
    with parent("--rank", "0", "--state-dir", str(tmp_path)) as (supervisor, worker):
        assert what_ends(worker) == f"end process {worker}", "nothing proves that it is ours"
        mark = ProcessMark.of(supervisor)
        assert mark is not None
        state.mark(0, mark)
        for pid in (supervisor, worker):
            assert what_ends(pid) == f"`mlxconsole down --state-dir {tmp_path}`"


def test_a_supervisor_without_a_state_is_ended_itself() -> None:
    """One that was started by hand."""
    with parent("/opt/bin/mlx-daemon", "--rank", "0") as (supervisor, worker):
        assert what_ends(worker) == f"end process {supervisor}"


def test_a_process_that_has_gone_is_named() -> None:
    """Between our look at the port and our look at the process."""
    assert what_ends(2**22 - 1) == f"end process {2**22 - 1}"
