"""The plan's check that communication is real: bytes cross a network, through gRPC, without MPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = 1_000_000


def test_real_grpc_implementation(proxied_world: tuple[Any, list[Any]]) -> None:
    """What two processes exchange passes a TCP proxy between them, and no MPI is loaded."""
    world, proxies = proxied_world
    world.run("objects")
    before = [proxy.forwarded for proxy in proxies]
    world.run("ping_pong", count=1, size=NUMBERS)
    assert all(proxy.forwarded - old >= NUMBERS for proxy, old in zip(proxies, before, strict=True))
    sent = world.run("link_counters")[0]
    assert sent["bytes_sent"] >= NUMBERS
    assert sent["bytes_received"] >= NUMBERS
    for modules in world.run("loaded_modules"):
        assert "grpc" in modules
        assert not [name for name in modules if name.split(".")[0] in ("mpi4py", "mpi", "pickle5")]


def test_the_port_speaks_grpc(make_world: Callable[..., Any]) -> None:
    """A plain gRPC client reaches the service and is refused by the service's own check."""
    world = make_world(2)
    world.run("objects")
    host, port = world.addresses[0]
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        frames: Any = channel.unary_stream("/mlxconsole.v1.Link/Frames", None, None)
        try:
            list(frames(b"not a handshake", timeout=10))
        except grpc.RpcError as error:
            answer: Any = error
        else:
            raise AssertionError("a stream without a handshake was served")
    assert answer.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "handshake" in answer.details()
