from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from fastapi import FastAPI

from flyteray._plan.apps import app_spec
from flyteray._plan.spares import BLANK
from flyteray._plan.spec import CodeRef
from flyteray._serve.spares.slots import Slots, Told
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

TWO = Told(
    spec=app_spec(
        FastAPIAppEnvironment(
            name="web", app=FastAPI(), scaling=Scaling(spare=2), env_vars={"PASSWORD": "secret"}
        ),
        CodeRef(bundle="abc", module="web", name="env"),
    ),
    endpoint_pattern="http://127.0.0.1:1/{app_fqdn}",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTERAY_CACHE", str(tmp_path))
    return tmp_path


def test_there_are_as_many_slots_as_a_version_has_spares() -> None:
    slots = Slots("web-1")
    slots.tell(TWO)
    first, second = slots.take(), slots.take()

    assert first is not None
    assert second is not None
    assert slots.take() is None
    assert slots.free() == 0

    first.close()

    assert slots.free() == 1
    assert slots.take() is not None


def test_of_blank_processes_there_is_one_on_a_machine() -> None:
    slots = Slots(BLANK)
    slots.tell(TWO)  # whichever app it was that became one: it makes no difference
    assert slots.free() == 1

    taken = slots.take()

    assert taken is not None
    assert Slots(BLANK).free() == 0


def test_one_process_alone_has_slots_filled() -> None:
    slots = Slots(BLANK)

    with slots.filling() as mine, Slots(BLANK).filling() as others:
        assert (mine, others) == (True, False)
    with slots.filling() as mine:
        assert mine


def test_what_a_spare_is_told_is_for_its_owner_alone(cache: Path) -> None:
    Slots("web-1").tell(TWO)

    assert Slots("web-1").told() == TWO
    [parent] = cache.iterdir()
    assert parent.name == f"flyteray-spares-{os.getuid()}"
    [file] = parent.rglob("told.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700

    Slots("web-1").forget()

    assert not file.exists()
