"""What integration tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flyteray._ingress.ingress import Ingress


@pytest.fixture(scope="module")
def ingress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    """A real HAProxy without Ray, which ends with the file's tests."""
    ingress = Ingress(tmp_path_factory.mktemp("ingress"), watched=os.getpid())
    yield ingress
    ingress.stop()
