"""A replica takes newer outputs while it runs: whole, at once, and only if the app agrees."""

from __future__ import annotations

import gc
import queue
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flyteray._plan.spec import OutputRef, ParameterSpec
from flyteray._serve.parameters.follow import Follower
from flyteray._serve.parameters.parameters import Parameters, Resolver
from flyteray.errors import OutputNotFoundError, RuntimeSystemError
from flyteray.io import File
from tests.waiting import eventually


class Model:
    def __init__(self, run: str) -> None:
        self.run = run


class Cluster:
    """Runs of tasks that succeed when the test says so, and their outputs."""

    def __init__(self) -> None:
        self.newest = {"train": "r1", "tune": "s1"}
        self.outputs: dict[str, Any] = {}
        self.broken: list[Exception] = []
        self.asked: queue.Queue[tuple[str, ...]] = queue.Queue()

    def locate(self, ref: OutputRef) -> str:
        return self.newest[ref.task_name or ""]

    def read(self, ref: OutputRef) -> Any:
        if self.broken:
            raise self.broken.pop()
        return self.outputs.pop(ref.run_name or "", None) or Model(ref.run_name or "")

    def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        deadline = time.monotonic() + 0.05
        while (found := [self.locate(ref) for ref in refs]) == list(seen) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.asked.put(tuple(seen))
        return found


class App:
    def __init__(self, cluster: Cluster, folder: Path, specs: list[ParameterSpec]) -> None:
        self.updates: list[dict[str, Any]] = []
        self.refuse: Callable[[], None] = lambda: None
        self.told: list[dict[str, Any]] = []
        resolver = Resolver(folder, "shop", cluster.read, cluster.locate)
        self.parameters: Parameters = resolver.all(specs)
        self.follower = Follower(
            specs,
            self.parameters,
            resolver,
            folder,
            newer=cluster.newer,
            update=self.update,
            tell=lambda **fields: self.told.append(fields),
        )
        self.follower.start()

    def update(self, arguments: Mapping[str, Any]) -> None:
        self.refuse()
        self.updates.append({name: getattr(value, "run", value) for name, value in arguments.items()})

    def sees(self) -> dict[str, str]:
        return {name: getattr(value, "run", value) for name, value in self.parameters.visible.items()}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., App]]:
    monkeypatch.setenv("FLYTERAY_CACHE", str(tmp_path / "node"))
    for name in ("MODEL", "flyte-parameters.json"):  # what an app sets is gone after the test
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("flyteray._serve.parameters.follow._RETRY_S", 0.01)
    (tmp_path / "replica").mkdir()
    apps: list[App] = []

    def started(*specs: ParameterSpec) -> App:
        apps.append(App(cluster, tmp_path / "replica", list(specs)))
        return apps[-1]

    yield started
    for app in apps:
        app.follower.stop()
        app.parameters.release()


def followed(name: str, task: str, **fields: Any) -> ParameterSpec:
    return ParameterSpec(
        name=name, output=OutputRef(task_name=task, follow=True), **{"kind": "object", **fields}
    )


MODEL = followed("model", "train", env_var="MODEL")


def test_a_newer_output_is_handed_over_and_then_seen(
    start: Callable[..., App], cluster: Cluster, tmp_path: Path
) -> None:
    app = start(MODEL, ParameterSpec(name="size", kind="string", value="big"))
    old = weakref.ref(app.parameters.visible["model"])
    assert app.sees() == {"model": "r1", "size": "big"}

    cluster.newest["train"] = "r2"
    eventually(lambda: app.told)

    assert app.sees() == {"model": "r2", "size": "big"}
    assert app.updates == [{"model": "r2", "size": "big"}]
    assert app.told == [{"outputs": {"model": "r2"}, "refused": {}}]
    assert "<Model of run r2>" in (tmp_path / "replica" / "flyte-parameters.json").read_text()
    assert eventually(lambda: gc.collect() is not None and old() is None), "the old value is held"


def test_an_app_that_raises_keeps_the_old_value_until_the_next_run(
    start: Callable[..., App], cluster: Cluster
) -> None:
    app = start(MODEL)

    def raises() -> None:
        raise ValueError("accuracy 0.2 is too low")

    app.refuse = raises
    cluster.newest["train"] = "r2"
    eventually(lambda: app.told)
    assert app.sees() == {"model": "r1"}
    (told,) = app.told
    assert told["outputs"] == {"model": "r1"}
    assert told["refused"]["model"].startswith("r2: ")
    assert "accuracy 0.2 is too low" in told["refused"]["model"]
    eventually(lambda: cluster.asked.get() == ("r2",))  # not tried again

    app.refuse = lambda: None
    cluster.newest["train"] = "r3"
    eventually(lambda: len(app.told) == 2)
    assert app.told[-1] == {"outputs": {"model": "r3"}, "refused": {}}
    assert app.sees() == {"model": "r3"}


def test_several_outputs_change_together(start: Callable[..., App], cluster: Cluster) -> None:
    app = start(MODEL, followed("tuned", "tune"), followed("again", "train"))
    cluster.newest |= {"train": "r2"}
    eventually(lambda: app.told)

    assert app.updates == [{"model": "r2", "tuned": "s1", "again": "r2"}]


def test_files_are_replaced_where_they_are_mounted_and_kept_for_a_while(
    start: Callable[..., App], cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in ("r1", "r2"):
        (tmp_path / run).write_text(run)
        cluster.outputs[run] = File(path=str(tmp_path / run))
    mount = tmp_path / "mounted.bin"
    app = start(followed("model", "train", kind="file", mount=str(mount)))
    assert mount.read_text() == "r1"
    first = mount.resolve()

    cluster.newest["train"] = "r2"
    eventually(lambda: app.told)

    assert mount.read_text() == "r2"
    assert app.sees() == {"model": str(mount)}
    assert first.read_text() == "r1"  # a handler may be reading it
    app.follower.stop()
    assert not first.exists()


def test_a_value_that_cannot_be_read_now_is_tried_again(start: Callable[..., App], cluster: Cluster) -> None:
    app = start(MODEL)
    cluster.broken = [RuntimeSystemError("StorageError", "no network") for _ in range(2)]

    cluster.newest["train"] = "r2"
    eventually(lambda: app.told and app.told[-1]["outputs"] == {"model": "r2"})

    assert app.sees() == {"model": "r2"}
    assert "no network" in app.told[0]["refused"]["model"]
    assert app.told[-1] == {"outputs": {"model": "r2"}, "refused": {}}
    assert len(app.told) == 2


def test_a_value_that_is_not_there_is_not_tried_again(start: Callable[..., App], cluster: Cluster) -> None:
    app = start(MODEL)
    cluster.broken = [OutputNotFoundError("no such output")]

    cluster.newest["train"] = "r2"
    eventually(lambda: cluster.asked.get() == ("r2",))

    assert app.sees() == {"model": "r1"}
    assert "no such output" in app.told[0]["refused"]["model"]


def test_asking_goes_on_when_the_controller_is_away(start: Callable[..., App], cluster: Cluster) -> None:
    app = start(MODEL)
    answering, failures = cluster.newer, 2

    def away(*arguments: Any) -> list[str]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise RuntimeSystemError("ActorDied", "gone")
        return answering(*arguments)

    app.follower.newer = away
    cluster.newest["train"] = "r2"

    eventually(lambda: app.sees() == {"model": "r2"})


def test_trouble_of_any_kind_is_told_and_following_goes_on(
    start: Callable[..., App], cluster: Cluster
) -> None:
    app = start(MODEL)
    answering, failures = cluster.newer, [KeyError("no such run"), OSError("no descriptor")]

    def fails(*arguments: Any) -> list[str]:
        if failures:
            raise failures.pop()
        return answering(*arguments)

    app.follower.newer = fails
    eventually(lambda: not failures)
    cluster.newest["train"] = "r2"

    eventually(lambda: app.told and app.told[-1] == {"outputs": {"model": "r2"}, "refused": {}})
    assert {"outputs": {"model": "r1"}, "refused": {"model": "r1: OSError: no descriptor"}} in app.told


def test_a_value_that_child_processes_can_not_be_told_of_is_told_as_trouble_until_they_can(
    start: Callable[..., App], cluster: Cluster, tmp_path: Path
) -> None:
    app = start(MODEL)
    (tmp_path / "replica").rename(tmp_path / "away")

    cluster.newest["train"] = "r2"
    eventually(lambda: app.told)
    assert app.sees() == {"model": "r2"}
    assert app.told[0]["refused"]["model"].startswith("r2: FileNotFoundError: ")

    (tmp_path / "away").rename(tmp_path / "replica")
    eventually(lambda: app.told[-1] == {"outputs": {"model": "r2"}, "refused": {}})
    assert "<Model of run r2>" in (tmp_path / "replica" / "flyte-parameters.json").read_text()


def test_nothing_is_taken_after_the_end(start: Callable[..., App], cluster: Cluster) -> None:
    app = start(MODEL)
    app.follower.stop()

    cluster.newest["train"] = "r2"
    app.follower._thread.join(10)

    assert not app.follower._thread.is_alive()
    assert app.sees() == {"model": "r1"}
