"""A child ends with its supervisor, in whatever state the child is."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from daemon.telemetry.lifeline import EXIT_ORPHANED

CHILD = """
import subprocess, sys, time
from daemon.telemetry import lifeline
lifeline.watch(int(sys.argv[1]))
if len(sys.argv) > 2:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("watching", flush=True)
time.sleep(60)
"""


def start_child(*arguments: str, new_session: bool) -> tuple[subprocess.Popen[bytes], int]:
    """A child that has its lifeline in hand, and the write end of it."""
    read_fd, write_fd = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(read_fd), *arguments],
        pass_fds=(read_fd,),
        stdout=subprocess.PIPE,
        start_new_session=new_session,
    )
    os.close(read_fd)
    assert child.stdout is not None
    assert child.stdout.readline() == b"watching\n"
    return child, write_fd


def test_a_cut_lifeline_ends_the_process() -> None:
    """However the supervisor died, the kernel closes its end of the pipe."""
    child, write_fd = start_child(new_session=False)
    with child:
        os.close(write_fd)
        assert child.wait(10) == EXIT_ORPHANED


def test_a_cut_lifeline_ends_the_group_that_the_child_leads() -> None:
    """A grandchild that holds a port or a device must not outlive its supervisor."""
    child, write_fd = start_child("with-grandchild", new_session=True)
    with child:
        os.close(write_fd)
        assert child.wait(10) == -signal.SIGKILL
        assert child.stdout is not None
        assert child.stdout.read() == b""  # the grandchild held it open


PARENT = """
import os, subprocess, sys, time
read_fd, write_fd = os.pipe()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(read_fd)], pass_fds=(read_fd,),
                         stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_a_stopped_child_dies_with_its_parent() -> None:
    """A thread of a stopped process reads no lifeline: the kernel must do it."""
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        waiter = os.pidfd_open(child)
        os.kill(child, signal.SIGSTOP)
        parent.kill()
        readable, _, _ = select.select([waiter], [], [], 10)
        os.close(waiter)
    assert readable


def test_commands_come_down_the_lifeline_in_order() -> None:
    """The supervisor has no other way to its worker; nonsense in between does no harm."""
    read_fd, write_fd = os.pipe()
    code = (
        "import sys, time\nfrom daemon.telemetry import lifeline\n"
        "lifeline.watch(int(sys.argv[1]), lambda c: print(c['do'], flush=True))\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(read_fd)], pass_fds=(read_fd,), stdout=subprocess.PIPE
    ) as child:
        os.close(read_fd)
        assert child.stdout is not None
        for part in (b'{"do": "dr', b'ain"}\nnonsense\n{}\n{"do": "undrain"}\n'):
            os.write(write_fd, part)
        assert child.stdout.readline() == b"drain\n"
        assert child.stdout.readline() == b"undrain\n"
        os.close(write_fd)
        assert child.wait(10) == EXIT_ORPHANED
