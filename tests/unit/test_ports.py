"""A clash of ports is an error that names the port, its purpose and its holder."""

from __future__ import annotations

import os
import socket
import threading
import time

import psutil
import pytest

from daemon import ports
from daemon.errors import PortInUse, SettingsError


@pytest.fixture
def listener() -> socket.socket:
    """A listening socket of this process; the test closes it."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def test_a_taken_port_names_its_holder(listener: socket.socket) -> None:
    """Who must be ended is what the operator wants to know."""
    port = listener.getsockname()[1]
    with listener, pytest.raises(PortInUse) as error:
        ports.check_free("127.0.0.1", port, "rank 1 port")
    text = str(error.value)
    assert text.startswith(f"rank 1 port 127.0.0.1:{port} is taken by process {os.getpid()} (")
    assert "choose another port" in text


def test_a_free_port_passes(listener: socket.socket) -> None:
    """And stays free."""
    port = listener.getsockname()[1]
    listener.close()
    ports.check_free("127.0.0.1", port, "api.port")
    ports.check_free("localhost", port, "api.port")


def test_patience_outlasts_a_holder_that_goes(listener: socket.socket) -> None:
    """The worker of a supervisor that was just killed takes a moment to die."""
    port = listener.getsockname()[1]
    threading.Timer(0.2, listener.close).start()
    ports.check_free("127.0.0.1", port, "rank 0 port", patience_s=10.0)


def test_patience_ends(listener: socket.socket) -> None:
    """A holder that stays is an error."""
    begun_s = time.monotonic()
    with listener, pytest.raises(PortInUse):
        ports.check_free("127.0.0.1", listener.getsockname()[1], "x", patience_s=0.1)
    assert time.monotonic() - begun_s >= 0.1


@pytest.mark.parametrize(
    ("host", "why"),
    [("203.0.113.7", "no such address"), ("no-such-host.invalid", "no such host")],
)
def test_a_host_that_is_not_ours(host: str, why: str) -> None:
    """A rank's host must be this machine."""
    with pytest.raises(SettingsError, match=why):
        ports.check_free(host, 50000, "rank 0 port")


def test_a_holder_that_we_may_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other users' processes are hidden on some systems."""

    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert ports.holder_pid(1) == 0
    assert ports.process_words(0) == "another process"


def test_nobody_holds_a_free_port() -> None:
    """The holder may be gone by the time we look."""
    assert ports.holder_pid(1) == 0
