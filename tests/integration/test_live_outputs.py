"""An app takes what newer runs of a task return, without a restart, and says where its parameters come from."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

import flyteray as flyte
from flyteray._actors.keeper import keeper
from flyteray._actors.questions import ask
from flyteray.app import RunOutput
from flyteray.remote import App
from tests.integration import sample_live as sample
from tests.waiting import eventually


@pytest.fixture
def data() -> Iterator[Any]:
    folder = sample.DATA / "data"
    shutil.rmtree(sample.DATA, ignore_errors=True)  # left by a process that had this one's number
    folder.mkdir(parents=True)
    (folder / "name").write_text("one")
    yield folder
    shutil.rmtree(sample.DATA)


class Asker:
    """Asks all the time, and keeps what it was told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stop.wait(0.02):
                answer = client.get(self.url)
                self.answers.append((answer.status_code, answer.json() if answer.is_success else answer.text))

    def wait_for(self, generation: int) -> None:
        eventually(lambda: self.answers and self.answers[-1][1]["generation"] == generation)


def test_newer_outputs_are_taken_by_a_running_app(cluster: Any, data: Any) -> None:
    runs = {1: flyte.run(sample.train, 1)}
    runs[1].wait()
    app = _serve(runs[1].name)
    try:
        first = httpx.get(f"{app.endpoint}/", timeout=60).json()
        assert (first["generation"], first["first"], first["data"]) == (1, 1, "one")
        with Asker(f"{app.endpoint}/") as asker:
            asker.wait_for(1)
            for generation in (2, 3):
                runs[generation] = flyte.run(sample.train, generation)
                asker.wait_for(generation)
            bad = flyte.run(sample.train, 0)
            refused = eventually(lambda: App.get("live").info.replica_list[0].refused)
            assert refused["model"].startswith(f"{bad.name}: ")
            assert "generation 0 is worse" in refused["model"]
            runs[4] = flyte.run(sample.train, 4)
            asker.wait_for(4)
            taken = f"<dict of run {runs[4].name}>"  # in the environment a moment later
            eventually(lambda: asker.answers[-1][1]["variable"] == taken)
        assert {status for status, _ in asker.answers} == {200}
        assert all(answer["whole"] for _, answer in asker.answers)
        assert {answer["generation"] for _, answer in asker.answers} == {1, 2, 3, 4}
        assert asker.answers[-1][1]["pid"] == first["pid"]

        info = eventually(lambda: _without_refusals(App.get("live").info))
        assert info.replica_list[0].outputs == {"model": runs[4].name, "first": runs[1].name}
        assert (info.lineage["model"].run, info.lineage["model"].follow) == (runs[4].name, True)
        assert (info.lineage["first"].run, info.lineage["first"].output) == (runs[1].name, "outputs[0]")
        assert (info.lineage["first"].hash or "").startswith("sha256:")
        # What nobody serves any more is in storage alone.
        eventually(lambda: not _held(runs[2].name) and not _held(bad.name))
        assert _held(runs[1].name)
        assert _held(runs[4].name)
        assert runs[2].outputs()[0]["generation"] == 2

        again = _serve(runs[1].name)
        assert again.info.version == info.version
        (data / "name").write_text("two")
        changed = _serve(runs[1].name)
        assert changed.info.version != info.version
        answer = httpx.get(f"{app.endpoint}/", timeout=60).json()
        assert (answer["generation"], answer["data"]) == (4, "two")
    finally:
        App.delete("live")
    eventually(lambda: not sample.MOUNT.is_symlink())


def _serve(first: str) -> App:
    declared = sample.live.parameters
    given = [
        replace(each, value=RunOutput("object", run_name=first)) if each.name == "first" else each
        for each in declared
    ]
    sample.live.parameters = given
    try:
        return flyte.serve(sample.live)
    finally:
        sample.live.parameters = declared


def _without_refusals(info: Any) -> Any:
    return info if not info.replica_list[0].refused else None


def _held(run: str) -> Any:
    return ask(keeper().get_output(run))
