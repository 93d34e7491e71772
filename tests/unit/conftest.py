"""What unit tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._plan.bundle import bundle


@pytest.fixture
def own_path() -> Iterator[None]:
    """Modules that a test loads, and the folders and bundles that it loads them from, are forgotten afterwards."""
    path, modules, bundles = list(sys.path), set(sys.modules), dict(bundle.active())
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    bundle.active().clear()
    bundle.active().update(bundles)


@pytest.fixture
def project(tmp_path: Path, own_path: None) -> Path:
    """A folder on sys.path whose modules are forgotten afterwards."""
    sys.path.insert(0, str(tmp_path))
    return tmp_path
