"""What integration tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flyteray._ingress.ingress import Ingress
from tests.integration.ingress_servers import RawReplica


@pytest.fixture(scope="module")
def ingress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    """A real HAProxy without Ray, which ends with the file's tests; it answers to the hosts ``a`` and ``h``."""
    folder = tmp_path_factory.mktemp("ingress")
    ingress = Ingress(folder, watched=os.getpid(), allowed_hosts=("a", "h"))
    yield ingress
    ingress.stop()


@pytest.fixture(scope="module")
def replica() -> Iterator[RawReplica]:
    """A server that keeps what reaches it, byte for byte; it ends with the file's tests."""
    replica = RawReplica()
    yield replica
    replica.stop()
