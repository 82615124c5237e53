"""Ranks talking to each other: sessions over gRPC streams, a codec that runs no code, collectives.

Knows bytes and arrays, no models. Entry points: `communicator.Communicator`,
`settings.CommSettings`, `codec.encode` / `decode` / `register`.
"""

import os

# Read by gRPC when it is first imported. Fork handlers only print noise here: ranks are spawned,
# never forked while a channel lives. gRPC's own log says nothing that our errors don't.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
