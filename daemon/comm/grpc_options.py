"""What gRPC is told: keepalive, reconnecting, sizes. Reasons and measurements in docs/wire.md."""

from __future__ import annotations

import grpc
from grpc.experimental import ChannelOptions

_KEEPALIVE = (
    ("grpc.keepalive_timeout_ms", 500),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.ping_timeout_ms", 500),
)
_SIZES = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

SERVER: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # a second process on our port must fail, not share it
    ("grpc.keepalive_time_ms", 500),
    *_KEEPALIVE,
    *_SIZES,
)
CHANNEL: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 1000),
    *_KEEPALIVE,
    *_SIZES,
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for every lane
    ("grpc.enable_http_proxy", 0),
    (ChannelOptions.SingleThreadedUnaryStream, 1),
)


def open_channel(
    address: tuple[str, int], credentials: grpc.ChannelCredentials | None, server_name: str = ""
) -> grpc.Channel:
    """A channel to a rank's data port; connects when first used."""
    host, port = address
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if credentials is None:
        return grpc.insecure_channel(target, options=CHANNEL)
    named = (("grpc.ssl_target_name_override", server_name),) if server_name else ()
    return grpc.secure_channel(target, credentials, options=(*CHANNEL, *named))
