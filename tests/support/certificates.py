"""A throw-away certificate authority for tests, made by the `openssl` command."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "rank.cluster"


def make_authority(folder: Path) -> tuple[bytes, bytes, bytes]:
    """PEM of an authority's certificate, of a certificate it signed for `NAME`, and of its key."""
    folder.mkdir()
    names = ["ca.pem", "ca.key", "rank.pem", "rank.key", "rank.csr", "names"]
    ca, ca_key, rank, rank_key, request, alternatives = (str(folder / name) for name in names)
    (folder / "names").write_text(f"subjectAltName=DNS:{NAME}\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl("req", "-x509", *key, "-keyout", ca_key, "-out", ca, "-subj", "/CN=test", "-days", "2")
    _openssl("req", *key, "-keyout", rank_key, "-out", request, "-subj", f"/CN={NAME}")
    signing = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2"]
    _openssl("x509", "-req", "-in", request, *signing, "-extfile", alternatives, "-out", rank)
    return tuple((folder / name).read_bytes() for name in ("ca.pem", "rank.pem", "rank.key"))  # pyright: ignore[reportReturnType] - three of them


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)  # noqa: S607 - whatever openssl the machine has
