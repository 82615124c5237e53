"""A model hub on loopback that serves one repository, and counts the bytes that it gives away."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

COMMIT = "0" * 40


class FakeHub(ThreadingHTTPServer):
    """The parts of the hub's protocol that its client needs for one public repository."""

    daemon_threads = True

    def __init__(self, hub_id: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub_id = hub_id
        self.folder = folder
        self.given_bytes = 0

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Tests are quiet."""

    def _answer(self, *, with_body: bool) -> None:
        hub = cast("FakeHub", self.server)
        path = self.path.split("?")[0]
        prefix = f"/{hub.hub_id}/resolve/main/"
        if path.startswith(f"/api/models/{hub.hub_id}/tree/"):
            names = [
                {"type": "file", "path": item.name, "size": item.stat().st_size, "oid": COMMIT}
                for item in hub.folder.iterdir()
            ]
            self._send(json.dumps(names).encode(), with_body=with_body)
        elif path.startswith(prefix) and (hub.folder / path.removeprefix(prefix)).is_file():
            data = (hub.folder / path.removeprefix(prefix)).read_bytes()
            self._send(data, with_body=with_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, data: bytes, *, with_body: bool) -> None:
        tag = hashlib.sha256(data).hexdigest()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        if wanted:
            data = data[int(wanted[1]) : int(wanted[2]) + 1]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{tag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            cast("FakeHub", self.server).given_bytes += len(data)
            self.wfile.write(data)


@contextmanager
def fake_hub(hub_id: str, folder: Path) -> Generator[FakeHub]:
    """Serve ``folder`` as ``hub_id``."""
    hub = FakeHub(hub_id, folder)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
