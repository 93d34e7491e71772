"""vLLM and SGLang are too large for tests: stand-ins tell what they would have been called with."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import flyteray as flyte
from flyteray._client.local.serve import local_apps
from tests.acceptance import model_servers


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_session: None) -> Iterator[Any]:
    """The module, declared anew for the folder of this test."""
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STAND_INS", str(tmp_path))
    for name in ("FLYTERAY_STORAGE", "FLYTERAY_DATABASE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    model_servers.make_stand_ins(tmp_path)
    yield importlib.reload(model_servers)
    local_apps(tmp_path / "home").end()


def served(app: Any) -> Any:
    handle = flyte.with_servecontext(mode="local", activate_timeout=180).serve(app)
    return httpx.get(f"{handle.endpoint}/v1/models", timeout=60).json()


def test_vllm_is_given_the_weights_that_a_task_made_and_a_draft_model(servers: Any) -> None:
    flyte.with_runcontext(mode="local").run(servers.finetune)

    told = served(servers.vllm)

    model = told["argv"][1]
    assert told["argv"][:4] == ["serve", model, "--served-model-name", "tuned"]
    assert told["files"] == [["adapter.safetensors"]]
    assert Path(model).name == "tuned"
    assert '"model": "/' in told["argv"][-1]
    assert "weights" in told["argv"][-1]


def test_sglang_is_given_a_folder_and_more_options(servers: Any) -> None:
    told = served(servers.sglang)

    assert told["argv"][2:4] == ["--served-model-name", "mine"]
    assert told["argv"][-2:] == ["--context-length", "8192"]
    assert told["files"] == [["model.safetensors"]]
