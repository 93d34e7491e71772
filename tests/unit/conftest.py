"""What unit tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._control.registry.registry import Registry
from flyteray._plan.bundle import bundle


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where no cluster runs and no secret is in the environment."""
    for name in ("RAY_ADDRESS", "FLYTERAY_SECRETS_KEY", "FLYTERAY_STORAGE", "FLYTERAY_DATABASE", "TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a registry that is not there yet."""
    return f"sqlite:///{tmp_path}/registry.sqlite"


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    """An empty registry."""
    registry = Registry(url)
    yield registry
    registry.close()


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
