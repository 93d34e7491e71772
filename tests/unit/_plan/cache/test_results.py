from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import flyteray as flyte
from flyteray._declare.facts import Owner
from flyteray._plan.cache.call import cache_spec, cached_call, contents
from flyteray._plan.cache.entry import folder
from flyteray._plan.cache.results import ResultCache
from flyteray._plan.spec import CachedCall, Caching
from flyteray.errors import ResultSerializationError
from flyteray.storage import open_storage
from flyteray.storage.values import write_value
from tests.s3_server import BUCKET, S3Server

env = flyte.TaskEnvironment(name="kept", cache="auto")


@env.task
def any_of(x: object) -> object:
    return x


@env.task
def other(x: object) -> object:
    return x


def call_of(x: object, task: flyte.Task = any_of) -> CachedCall:  # type: ignore[type-arg]
    spec = cache_spec(task)
    named = contents(task, {"x": x}, spec, Caching())
    assert spec is not None
    assert named is not None
    return cached_call(task, named, spec, Caching(), Owner())


@pytest.fixture(params=["folder", "s3"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultCache:
    if request.param == "folder":
        return ResultCache(open_storage(tmp_path / "storage"))
    server: S3Server = request.getfixturevalue("s3")
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return ResultCache(open_storage(f"s3://{BUCKET}/{request.node.name}"))


def test_what_is_kept_is_found_listed_and_deleted(cache: ResultCache) -> None:
    assert cache.find(call_of(1)) is None
    for number in (1, 2):
        cache.keep(call_of(number), any_of, (np.full(5000, number),), f"run-{number}", "a0")
    cache.keep(call_of(1, other), other, (None,), "run-3", "child")

    found = cache.find(call_of(2))
    assert found is not None
    assert (found.outputs[0] == 2).all()
    assert (found.entry.run, found.entry.action, found.entry.nbytes > 40_000) == ("run-2", "a0", True)
    assert [each.run for each in cache.entries()] == ["run-3", "run-2", "run-1"]
    assert [each.run for each in cache.entries("kept.other")] == ["run-3"]

    assert cache.delete("kept.any_of", older_than=timedelta(hours=1)) == 0
    assert cache.delete("kept.any_of", older_than=timedelta(0)) == 2
    assert cache.find(call_of(2)) is None
    assert cache.delete() == 1
    assert cache.entries() == []


def test_outputs_that_are_written_already_are_kept_beyond_where_they_were(cache: ResultCache) -> None:
    storage = cache._storage
    write_value(storage, "runs/r/a0/outputs", ("large",))
    cache.keep(call_of(1), any_of, ("large",), "r", "a0", written="runs/r/a0/outputs")
    storage.delete("runs/r/a0/outputs")
    entry = cache.look(call_of(1))
    assert entry is not None

    assert cache.hand_on(entry, "runs/later/a0/outputs") == entry.nbytes
    cache.delete()

    assert list(storage.list()) == ["runs/later/a0/outputs"]
    assert cache.hand_on(entry, "runs/later/a0/outputs") is None


def test_a_file_is_handed_on_without_a_copy(tmp_path: Path) -> None:
    cache = ResultCache(open_storage(tmp_path))
    cache.keep(call_of(1), any_of, (np.zeros(5000),), "r", "a0")
    entry = cache.look(call_of(1))
    assert entry is not None

    for _ in range(2):  # again: one name of a file takes the place of another of the same
        cache.hand_on(entry, "runs/later/a0/outputs")

    assert (tmp_path / entry.outputs).samefile(tmp_path / "runs/later/a0/outputs")
    assert not list(tmp_path.rglob(".tmp-*"))


def test_an_output_that_can_not_be_pickled_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultSerializationError, match=r"output\[0\] is a builtins.generator"):
        ResultCache(open_storage(tmp_path)).keep(call_of(1), any_of, ((i for i in ()),), "r", "a0")


@pytest.mark.parametrize("name", ["env.f", "env." + "x" * 300, "env.größe", "../../etc", ".", "a/b c"])
def test_the_folder_of_a_task_is_short_and_plain(name: str) -> None:
    _, made = folder(name).split("/")

    assert len(made) < 70
    assert made.isascii()
    assert not made.startswith(".")
    assert folder(name) != folder(name + "x")
