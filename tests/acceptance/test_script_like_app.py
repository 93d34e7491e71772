"""User code in a replica's process finds what it would find in a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import flyteray as flyte
from flyteray._client.local.serve import local_apps
from flyteray._client.session.session import session
from tests.acceptance import script_like_app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    session.cache_clear()
    yield tmp_path
    local_apps(tmp_path).end()
    session.cache_clear()


@pytest.mark.usefixtures("home")
def test_a_module_its_hooks_and_its_handlers_do_what_scripts_do() -> None:
    app = flyte.with_servecontext(mode="local").serve(script_like_app.env)

    seen = httpx.get(app.endpoint, timeout=60).json()

    assert seen == {
        "import": "asyncio.unix_events",
        "new loop": True,
        "arguments": ["script_like_app.py", 1],
        "beside": True,
        "hook": "asyncio.unix_events",
        "on the loop": "uvloop",
    }
    assert httpx.get(f"{app.endpoint}/sync", timeout=60).json() == "asyncio.unix_events"
