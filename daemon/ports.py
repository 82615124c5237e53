"""Finds out whether a port is free, and who holds it. Knows nothing of what will listen."""

from __future__ import annotations

import errno
import socket
import time

import psutil

from daemon.errors import PortInUse, SettingsError

_RETRY_S = 0.05


def check_free(host: str, port: int, purpose: str, patience_s: float = 0.0) -> None:
    """Bind and let go of ``host:port``.

    Args:
        host: address or name to listen on.
        port: from 1 to 65535.
        purpose: what the port is for, such as "rank 0 control_port"; opens the error text.
        patience_s: how long a holder may take to go, as one that was just killed does.

    Raises:
        PortInUse: names the port and its holder.
        SettingsError: the host is no address of this machine, or the port is not allowed.
    """
    deadline_s = time.monotonic() + patience_s
    while (error := _bind_error(host, port)) is not None:
        if error.errno != errno.EADDRINUSE:
            raise SettingsError(f"can't listen on {host}:{port} ({purpose}): {_reason(error)}")
        if time.monotonic() >= deadline_s:
            raise port_in_use(host, port, purpose)
        time.sleep(_RETRY_S)


def port_in_use(host: str, port: int, purpose: str) -> PortInUse:
    """The error that names the port and, where the system tells, its holder."""
    return PortInUse(
        f"{purpose} {host}:{port} is taken by {process_words(holder_pid(port))}: "
        "end it or choose another port"
    )


def holder_pid(port: int) -> int:
    """Who listens on a local TCP port; 0 if nobody does any more, or we may not know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return 0
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        if connection.laddr[1] == port and connection.pid:
            return connection.pid
    return 0


def process_words(pid: int) -> str:
    """A process by its id and command; "another process" for 0."""
    if not pid:
        return "another process"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()[:4]) or process.name()
    except (psutil.Error, OSError):
        return f"process {pid}"
    return f"process {pid} ({command[:80]})"


def _bind_error(host: str, port: int) -> OSError | None:
    """Why ``host`` can't be bound; None if it can, be it on some of its addresses only."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    errors = [_probe(family, address) for family, _, _, _, address in found]
    taken = next((e for e in errors if e is not None and e.errno == errno.EADDRINUSE), None)
    return taken or (None if None in errors else errors[0])


def _probe(family: int, address: tuple[object, ...]) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: connections that linger in TIME_WAIT are no holder.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return error.strerror or str(error)
