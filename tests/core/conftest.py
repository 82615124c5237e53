"""Worlds of real rank processes, and a TCP proxy that breaks connections on demand."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[2]
CHECK_TIMEOUT_S = 110.0


def free_addresses(count: int) -> list[tuple[str, int]]:
    """Addresses on loopback that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [each.getsockname() for each in sockets]
    for each in sockets:
        each.close()
    return addresses


class RankProcess:
    """One rank."""

    def __init__(self, spec: dict[str, Any], prefix: Sequence[str] = ()) -> None:
        """``prefix``: a command that starts the rank's own, for instance elsewhere."""
        self.rank: int = spec["rank"]
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.core.rank_program", json.dumps(spec)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, check: str, **args: Any) -> None:
        """Begin a check."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"check": check, "args": args}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The result of the check; its error fails the test."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(CHECK_TIMEOUT_S), f"rank {self.rank} does not answer"
        line = self.process.stdout.readline()
        assert line, f"rank {self.rank} has died with {self.process.wait(10)}"
        answer = json.loads(line)
        assert "error" not in answer, f"rank {self.rank}: {answer['error']}"
        return answer["result"]

    def run(self, check: str, **args: Any) -> Any:
        """A check on this rank alone."""
        self.order(check, **args)
        return self.answer()

    def end(self) -> tuple[float, list[str]]:
        """Leave in order; seconds that `close` took and threads that were left."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        seconds, threads = self.answer()
        assert self.process.wait(10) == 0
        return seconds, threads

    def dispose(self) -> None:
        """Whatever happened, leave no process behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class World:
    """All ranks."""

    def __init__(
        self,
        size: int,
        addresses: Sequence[tuple[str, int]] = (),
        views: dict[int, list[tuple[str, int]]] | None = None,
        prefixes: dict[int, list[str]] | None = None,
        **settings: Any,
    ) -> None:
        """Start all ranks.

        Args:
            size: number of ranks.
            addresses: of the ranks; on loopback if not given.
            views: addresses as a rank sees them, where that differs (through a proxy).
            prefixes: commands that start a rank's own.
            settings: of every rank.
        """
        self.addresses = list(addresses) or free_addresses(size)
        self.settings = settings
        self.views = views or {}
        self.prefixes = prefixes or {}
        self.ranks = [self.spawn(rank) for rank in range(size)]

    def spawn(self, rank: int) -> RankProcess:
        """Start a rank's process."""
        addresses = self.views.get(rank, self.addresses)
        spec = {"rank": rank, "addresses": addresses, **self.settings}
        return RankProcess(spec, self.prefixes.get(rank, ()))

    def run(self, check: str, **args: Any) -> list[Any]:
        """A check on all ranks at once; results in rank order."""
        for rank in self.ranks:
            rank.order(check, **args)
        return [rank.answer() for rank in self.ranks]

    def end(self) -> list[tuple[float, list[str]]]:
        """Let all ranks leave at the same time."""
        for rank in self.ranks:
            if rank.process.stdin is not None:
                rank.process.stdin.close()
        return [rank.end() for rank in self.ranks]

    def dispose(self) -> None:
        """Leave no process behind."""
        for rank in self.ranks:
            rank.dispose()


@pytest.fixture(scope="module", params=[2, 4, 8], ids=lambda size: f"{size}-ranks")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A world that the tests of a module share; it must end quickly and without leftovers."""
    made = World(request.param)
    try:
        yield made
        for close_s, threads in made.end():
            assert close_s < 5.0
            assert threads == []
    finally:
        made.dispose()


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Makes worlds that a test may break."""
    made: list[World] = []

    def make(size: int, **settings: Any) -> World:
        made.append(World(size, **settings))
        return made[-1]

    yield make
    for each in made:
        each.dispose()


@pytest.fixture(scope="module")
def small_world() -> Iterator[World]:
    """Two ranks that the tests of a module share."""
    made = World(2)
    try:
        yield made
        made.end()
    finally:
        made.dispose()


class FaultProxy:
    """Forwards TCP connections to a target; cuts, freezes or breaks them when told."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.forwarded = 0
        """Bytes, both ways."""
        self.break_after: int | None = None
        """Reset every connection that has forwarded this many bytes."""
        self._flow = threading.Event()
        self._flow.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._closed = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def freeze(self) -> None:
        """Forward nothing, as a link that is down; connections stay open."""
        self._flow.clear()

    def thaw(self) -> None:
        """Forward again."""
        self._flow.set()

    def cut(self) -> None:
        """Reset all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                _reset(each)

    def close(self) -> None:
        """End everything."""
        self._closed = True
        self.thaw()
        _reset(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, timeout=1)
                far.settimeout(None)
            except OSError:
                _reset(near)
                continue
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pump, args=(source, sink), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flow.wait()
                passed += len(data)
                limit = self.break_after
                if limit is not None and passed > limit:
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
                self.forwarded += len(data)
        for each in (source, sink):
            _reset(each)


def _reset(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@pytest.fixture
def make_proxy() -> Iterator[Callable[[tuple[str, int]], FaultProxy]]:
    """Makes proxies to an address."""
    made: list[FaultProxy] = []

    def make(target: tuple[str, int]) -> FaultProxy:
        made.append(FaultProxy(target))
        return made[-1]

    yield make
    for each in made:
        each.close()


@dataclass(frozen=True)
class ProxiedPair:
    """Where two ranks listen, and how each sees the other: through a proxy."""

    addresses: list[tuple[str, int]]
    views: dict[int, list[tuple[str, int]]]
    proxies: list[FaultProxy]


@pytest.fixture
def proxied_pair(make_proxy: Callable[[tuple[str, int]], FaultProxy]) -> ProxiedPair:
    """Addresses of two ranks with a proxy in each direction, for processes or communicators."""
    addresses = free_addresses(2)
    proxies = [make_proxy(address) for address in addresses]
    views = {
        0: [addresses[0], proxies[1].address],
        1: [proxies[0].address, addresses[1]],
    }
    return ProxiedPair(addresses, views, proxies)


@pytest.fixture
def proxied_world(
    make_world: Callable[..., World], proxied_pair: ProxiedPair
) -> tuple[World, list[FaultProxy]]:
    """Two rank processes that see each other through proxies."""
    world = make_world(2, addresses=proxied_pair.addresses, views=proxied_pair.views)
    return world, proxied_pair.proxies
