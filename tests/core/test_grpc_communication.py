"""The plan's tests of the processes behind the gRPC ports: start, ports, sizes, end."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest

from protos import control_pb2 as control
from protos import control_pb2_grpc, engine_pb2_grpc
from protos import engine_pb2 as engine
from tests.support.running_cluster import RunningCluster, start_cluster
from tests.support.servable_model import write_servable_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
DEADLINE_S = 5.0


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight layers of random weights: one for each of eight ranks."""
    return str(write_servable_model(tmp_path_factory.mktemp("model")))


def listening_pids(port: int) -> set[int]:
    """Who listens on a port of this machine."""
    return {
        connection.pid or 0
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and list(connection.laddr)[1:2] == [port]
    }


def test_grpc_server_startup(cluster: RunningCluster) -> None:
    """Worker and supervisor of each rank listen, and are the processes that they say they are."""
    for rank in cluster.once()["ranks"]:
        assert listening_pids(rank["port"]) == {rank["pid"]}
        assert listening_pids(rank["control_port"]) == {rank["supervisor_pid"]}
        assert rank["pid"] != rank["supervisor_pid"]


def test_grpc_client_connection(cluster: RunningCluster) -> None:
    """Any gRPC client can ask the supervisors for their status and rank 0 for the model."""
    for rank in range(cluster.ranks):
        with grpc.insecure_channel(f"127.0.0.1:{cluster.control_port + rank}") as channel:
            stub = control_pb2_grpc.ControlStub(channel)
            status = stub.GetStatus(control.GetStatusRequest(), timeout=DEADLINE_S)
            assert (status.rank, status.world_size) == (rank, 2)
    with grpc.insecure_channel(f"127.0.0.1:{cluster.data_port}") as channel:
        info = engine_pb2_grpc.EngineStub(channel).Describe(
            engine.DescribeRequest(), timeout=DEADLINE_S
        )
        assert (info.ready, info.world_size) == (True, 2)


def test_port_allocation(cluster: RunningCluster) -> None:
    """GRPC ports are consecutive by rank, apart from the API's, and each has one owner."""
    ranks = cluster.once()["ranks"]
    assert [r["port"] for r in ranks] == [cluster.data_port, cluster.data_port + 1]
    assert [r["control_port"] for r in ranks] == [cluster.control_port, cluster.control_port + 1]
    assert len(set(cluster.ports)) == 5
    owners = [listening_pids(port) for port in cluster.ports]
    assert all(len(owner) == 1 for owner in owners)
    assert len(set.union(*owners)) == 5


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_multiple_ranks_initialization(tmp_path: Path, random_model: str, ranks: int) -> None:
    """Clusters of each size come up, every layer on one rank, and leave nothing behind."""
    running = start_cluster(tmp_path, ranks=ranks, model=random_model)
    try:
        document = running.once()
    finally:
        done = running.down()
    assert done.returncode == 0, done.stderr
    assert [r["state"] for r in document["ranks"]] == ["READY"] * ranks
    layers = [tuple(r["layers"]) for r in document["ranks"]]
    assert layers == [(8 * r // ranks, 8 * (r + 1) // ranks) for r in range(ranks)]


def test_graceful_shutdown(tmp_path: Path, random_model: str) -> None:
    """`down` leaves no process, no port and no runtime file; a second `down` is no error."""
    running = start_cluster(tmp_path, model=random_model)
    document = running.once()
    pids = {document["api"]["pid"]}
    pids |= {rank[key] for rank in document["ranks"] for key in ("pid", "supervisor_pid")}
    assert len(pids) == 5
    assert running.down().returncode == 0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    for port in running.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert running.down().returncode == 0
