"""Who may act on a daemon: where the token comes from, and who is let through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.errors import NotAllowed, SettingsError
from daemon.operator_token import check, credentials, from_this_machine, operator_token, peer_host

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "0123456789abcdef"  # noqa: S105 - made up


def test_the_token_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    """None at all is fine: then only this machine may act."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")
    path.chmod(0o600)
    by_file = {"MLXCONSOLE_OPERATOR_TOKEN_FILE": str(path)}
    assert operator_token({}) == ""
    assert operator_token({"MLXCONSOLE_OPERATOR_TOKEN": TOKEN}) == TOKEN
    assert operator_token(by_file) == TOKEN
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        operator_token(by_file)
    path.chmod(0o600)
    path.write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match="16 printable"):
        operator_token(by_file)
    path.unlink()
    with pytest.raises(SettingsError, match="can't read"):
        operator_token(by_file)
    with pytest.raises(SettingsError, match="16 printable"):
        operator_token({"MLXCONSOLE_OPERATOR_TOKEN": "short"})


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        ("ipv4:127.0.0.1:50123", True),
        ("ipv6:%5B::1%5D:50123", True),
        ("ipv6:[::ffff:127.0.0.1]:9", True),
        ("unix:/run/x", True),
        ("ipv4:192.168.1.10:50123", False),
        ("ipv6:[::ffff:10.0.0.1]:9", False),
        ("nonsense", False),
        ("127.0.0.1", False),
    ],
)
def test_whose_machine_a_peer_is(peer: str, here: bool) -> None:
    """What can't be read is nobody we know."""
    assert from_this_machine(peer) == here


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:42500", "127.0.0.1"),
        ("ipv6:%5B::1%5D:9", "::1"),
        ("unix:/run/x", "this machine"),
        ("nonsense", "nonsense"),
    ],
)
def test_people_read_who_asked_as_a_plain_host(peer: str, host: str) -> None:
    """The port of a connection that is gone tells nobody anything."""
    assert peer_host(peer) == host


def test_who_may_act() -> None:
    """With a token its bearers, wherever they are; without one this machine."""
    here, there = "ipv4:127.0.0.1:1", "ipv4:10.0.0.1:1"
    check("", (), here)
    check(TOKEN, credentials(TOKEN), there)
    for token, carried, peer in (
        ("", (), there),
        ("", credentials(TOKEN), there),
        (TOKEN, (), here),
        (TOKEN, credentials(TOKEN + "x"), here),
        (TOKEN, (("authorization", TOKEN),), here),
    ):
        with pytest.raises(NotAllowed):
            check(token, carried, peer)
