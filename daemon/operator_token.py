"""The operator's token: who carries it may restart, drain, kill, cancel and shut down.

It comes from the environment or from a file that only its owner can read, never from a command
line, which every user of a machine can see. Knows no grpc.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from daemon.errors import NotAllowed, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE, FILE_VARIABLE = "MLXCONSOLE_OPERATOR_TOKEN", "MLXCONSOLE_OPERATOR_TOKEN_FILE"
KEY, SCHEME = "authorization", "Bearer "
LEAST_LENGTH = 16


def operator_token(environ: Mapping[str, str] = os.environ) -> str:
    """The token of this process; empty if there is none.

    Raises:
        SettingsError: the file can't be read, others may read it, or the token is too short.
    """
    name, token = VARIABLE, environ.get(VARIABLE, "").strip()
    if not token and environ.get(FILE_VARIABLE):
        name, token = FILE_VARIABLE, _read(Path(environ[FILE_VARIABLE]))
    if not token and not environ.get(FILE_VARIABLE):
        return ""
    if len(token) < LEAST_LENGTH or not token.isascii() or not token.isprintable():
        raise SettingsError(
            f"{name}: a token has {LEAST_LENGTH} printable ASCII characters or more"
        )
    return token


def credentials(token: str) -> tuple[tuple[str, str], ...]:
    """What a call carries."""
    return ((KEY, f"{SCHEME}{token}"),) if token else ()


def check(token: str, metadata: Iterable[tuple[str, str | bytes]], peer: str) -> None:
    """Let a caller act, or not.

    Args:
        token: the daemon's own; without one only this machine may act.
        metadata: what the call carried.
        peer: the caller's address as gRPC writes it.

    Raises:
        NotAllowed: says what is missing.
    """
    carried = next((value for key, value in metadata if key == KEY), b"")
    carried = carried.encode() if isinstance(carried, str) else carried
    names = f"{VARIABLE} or {FILE_VARIABLE}"
    if token:
        if not hmac.compare_digest(carried, f"{SCHEME}{token}".encode()):
            raise NotAllowed(f"this daemon takes actions from its operator only: set {names}")
    elif not from_this_machine(peer):
        raise NotAllowed(
            "this daemon has no operator token, so it takes actions from its own machine only: "
            f"start it, and the console, with {names}"
        )


def from_this_machine(peer: str) -> bool:
    """Whether a gRPC peer such as ``ipv4:127.0.0.1:5`` or ``ipv6:[::1]:5`` is on loopback."""
    kind, host = _kind_and_host(peer)
    if kind == "unix":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def peer_host(peer: str) -> str:
    """The host alone of a gRPC peer, for people: ``127.0.0.1`` of ``ipv4:127.0.0.1:5``."""
    kind, host = _kind_and_host(peer)
    return "this machine" if kind == "unix" else host or peer


def _kind_and_host(peer: str) -> tuple[str, str]:
    kind, _, rest = unquote(peer).partition(":")
    return kind, rest.rpartition(":")[0].strip("[]")


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(f"{path}: others may read this token: chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"can't read the operator token in {path}: {error}") from error
