"""The official client on the shared cluster: two ranks with the demo model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_cluster import RunningCluster


@pytest.fixture
def client(cluster: RunningCluster) -> Iterator[openai.OpenAI]:
    """A synchronous client."""
    with openai.OpenAI(base_url=cluster.base_url, api_key="none", max_retries=0) as made:
        yield made
