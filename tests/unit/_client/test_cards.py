from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import flyteray as flyte
from flyteray.artifacts import Card, Metadata

env = flyte.TaskEnvironment("cards")


@env.task
async def writes(page: str) -> str:
    card = await Card.create_from.aio(content=page, format="md", card_type="model")
    return card.uri


@pytest.mark.usefixtures("own_session")
def test_a_task_writes_a_card_beside_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))

    [uri] = flyte.with_runcontext(mode="local").run(writes, "# Model").outputs()

    assert uri.startswith(str(tmp_path))
    assert uri.endswith("card.md")
    assert Path(uri).read_text() == "# Model"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "one of them"),
        ({"content": "a", "local_path": "b"}, "one of them"),
        ({"content": "a", "format": "doc"}, "one of html"),
        ({"content": "a", "card_type": "thing"}, "one of model"),
    ],
    ids=map(str, range(4)),
)
def test_a_card_is_of_one_page(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Card.create_from(**given)


def test_a_model_is_said_with_the_attrs_that_models_have() -> None:
    card = Card(uri="s3://bucket/card.html")
    said = Metadata.create_model_metadata(
        name="m",
        framework="torch",
        modality=("text", "image"),
        attrs={"loss": "0.1", "framework": "x"},
        card=card,
    )

    assert (said.kind, said.card) == ("model", card)
    assert said.attrs == {
        "loss": "0.1",
        "framework": "torch",
        "model_type": "",
        "architecture": "",
        "task": "",
        "modality": "text,image",
        "serial_format": "safetensors",
    }
    assert pickle.loads(pickle.dumps(said)) == said
