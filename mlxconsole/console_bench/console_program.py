"""The console as it is, on the cluster whose JSON is its argument."""

from __future__ import annotations

import json
import sys

from mlxconsole.cluster import Cluster, Member
from mlxconsole.source.live import LiveSource
from mlxconsole.ui.app import ConsoleApp


def cluster(text: str) -> Cluster:
    """What `fake_ranks` printed."""
    values = json.loads(text)
    return Cluster(**(values | {"members": tuple(Member(**m) for m in values["members"])}))


if __name__ == "__main__":
    ConsoleApp(LiveSource(cluster(sys.argv[1]))).run()
