"""Code that is only being loaded starts nothing, however it tries, and is told where it stands and what to write."""

from __future__ import annotations

import pickle
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray._declare.context import TaskContext, task_context
from flyteray._declare.facts import ActionID
from flyteray._declare.loading import loads
from flyteray._plan.bundle import code, references
from flyteray._plan.spec import CodeRef
from flyteray._plan.values import pickling
from flyteray.errors import ModuleLoadError
from flyteray.storage.pickler import is_guarded

HEAD = """
import asyncio, threading
import flyteray as flyte
env = flyte.TaskEnvironment(name="env")
app = flyte.app.AppEnvironment(name="app", args="sleep 1")
@env.task
def main(x: int = 1) -> int:
    return x
"""
BELOW = len(HEAD.splitlines()) + 1


@pytest.fixture
def folder(project: Path, monkeypatch: pytest.MonkeyPatch, own_session: None) -> Iterator[Path]:
    """A folder of modules, in a home where nothing runs; what a test starts would show there."""
    home = project / "home"
    monkeypatch.setenv("FLYTERAY_HOME", str(home))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield project
    assert not (home / "cluster.json").exists()
    assert not (home / "registry.sqlite").exists()


def script(folder: Path, below: str, name: str = "script") -> Path:
    path = folder / f"{name}.py"
    path.write_text(HEAD + textwrap.dedent(below))
    return path


def refused(folder: Path) -> str:
    """What the command and a worker say alike of the script."""
    said = []
    for load in (
        lambda: code.load_file(folder / "script.py"),
        lambda: references.load(CodeRef(bundle="", module="script", name="main"), None),
    ):
        sys.modules.pop("script", None)
        with pytest.raises(ModuleLoadError) as caught:
            load()
        said.append(str(caught.value))
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize(
    ("statement", "verb"),
    [
        ("flyte.run(main, x=2)", "flyteray.run"),
        ("flyte.run(main)", "flyteray.run"),
        ('flyte.with_runcontext(mode="local").run(main)', "flyteray.run"),
        ("asyncio.run(flyte.run.aio(main))", "flyteray.run"),
        ("flyte.deploy(env)", "flyteray.deploy"),
        ("flyte.deploy(env, dry_run=True)", "flyteray.deploy"),
        ("flyte.serve(app)", "flyteray.serve"),
        ("flyte.with_servecontext(mode='local').serve(app)", "flyteray.serve"),
        ("flyte.build(flyte.Image.from_debian_base())", "flyteray.build"),
        ("flyte.build_images(env)", "flyteray.build_images"),
        ('flyte.remote.App.delete("app")', "App.delete"),
        ('flyte.remote.Secret.create("key", "value")', "Secret.create"),
        ('flyte.remote.Secret.delete("key")', "Secret.delete"),
        ('flyte.remote.Key.create("key")', "Key.create"),
        ('flyte.run(flyte.remote.Task.get("env.main", auto_version="latest"))', "flyteray.run"),
    ],
)
def test_a_verb_at_top_level_is_refused_with_its_line_and_a_guard(
    folder: Path, statement: str, verb: str
) -> None:
    script(folder, statement)

    said = refused(folder)

    assert said.startswith(f"script.py, line {BELOW}, calls {verb} when its file is loaded")
    assert said.endswith(f'    if __name__ == "__main__":\n        {statement}')


def test_it_is_the_line_at_top_level_that_is_told_not_the_function_that_it_calls(folder: Path) -> None:
    script(
        folder,
        """
        async def all_of_it():
            await asyncio.gather(flyte.run.aio(main), flyte.run.aio(main, x=2))
        def go():
            asyncio.run(all_of_it())
        go()
        """,
    )

    assert refused(folder).startswith(f"script.py, line {BELOW + 5}, calls flyteray.run")


def test_a_helper_that_starts_something_when_it_is_imported_is_named(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").touch()
    script(folder / "package", "flyte.run(main)", "helper")
    script(folder, "from package import helper")

    assert refused(folder).startswith(f"package/helper.py, line {BELOW}, calls flyteray.run")


def test_a_thread_that_is_started_at_top_level_is_refused_now_and_later(folder: Path) -> None:
    script(
        folder,
        """
        said = []
        later = threading.Event()
        def work(wait):
            if wait:
                later.wait()
            try:
                flyte.run(main)
            except Exception as error:
                said.append(str(error))
        first, second = (threading.Thread(target=work, args=(wait,)) for wait in (False, True))
        timer = threading.Timer(0.2, work, args=(False,))
        first.start(), second.start(), timer.start()
        first.join()
        """,
    )

    module = code.load_file(folder / "script.py")
    assert module.said
    module.later.set()
    module.second.join()
    module.timer.join()

    assert len(module.said) == 3
    told = (
        f"script.py, line {BELOW + 7}, calls flyteray.run in a thread that is started when its file is loaded"
    )
    assert all(text.startswith(told) for text in module.said)


def test_pools_and_loops_that_a_module_makes_serve_its_tasks(folder: Path) -> None:
    script(
        folder,
        """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(1)
        pool.submit(int).result()
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        async def started(x):
            return await flyte.with_runcontext(mode="local").run.aio(main, x=x)
        """,
    )
    module = code.load_file(folder / "script.py")

    run = module.pool.submit(flyte.with_runcontext(mode="local").run, module.main, x=3).result()
    assert run.outputs()[0] == 3
    import asyncio  # deferred: one test

    future = asyncio.run_coroutine_threadsafe(module.started(4), module.loop)
    assert future.result().outputs()[0] == 4
    module.loop.call_soon_threadsafe(module.loop.stop)


@pytest.mark.parametrize(
    "guard",
    [
        'if __name__ == "__main__":',
        "if '__main__' == __name__:",
        'if __name__ in ("__main__", "__mp_main__"):',
        'if not __name__ != "__main__":',
        'if __name__.endswith("__main__"):',
        'if __name__ == "__main__" and len(__file__) > 1:',
    ],
)
def test_below_a_guard_of_any_spelling_it_is_not_run_and_its_names_are_known_to_be_there(
    folder: Path, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(folder, f"{guard}\n    flyte.run(main)\n    mine = 1\nelse:\n    theirs = 1\nboth = 1")

    assert code.load_file(path).theirs == 1
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["script"])
    assert [name for name in ("mine", "theirs", "both") if is_guarded(name)] == ["mine"]


def test_a_condition_on_something_else_is_no_guard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(folder, 'if main or __name__ == "__main__":\n    mine = 1')

    monkeypatch.setitem(sys.modules, "__main__", code.load_file(path))
    assert not is_guarded("mine")


def test_what_says_where_to_run_or_only_names_something_may_stand_at_top_level(folder: Path) -> None:
    script(
        folder,
        """
        flyte.init(project="p")
        flyte.init_from_config()
        trained = flyte.remote.Task.get("env.main", auto_version="latest")
        four = main(4)
        """,
    )

    assert code.load_file(folder / "script.py").four == 4


def test_what_is_caught_at_top_level_starts_nothing(folder: Path) -> None:
    script(folder, "try:\n    flyte.run(main)\nexcept Exception as error:\n    said = str(error)")

    assert "Nothing was started" in code.load_file(folder / "script.py").said


def test_a_value_whose_class_is_in_such_a_module_is_refused(folder: Path) -> None:
    path = script(folder, "class Point:\n    pass")
    payload = pickling.dump({"point": code.load_file(path).Point()}, "inputs")
    del sys.modules["script"]
    script(folder, "class Point:\n    pass\nflyte.run(main)")

    with pytest.raises(ModuleLoadError, match=rf"script\.py, line {BELOW + 2}, calls flyteray\.run"):
        pickling.load(payload)


class Starts:
    """A value that starts something when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return started, ()


def started() -> None:
    flyte.run(None)  # type: ignore[arg-type]


def test_a_value_that_starts_something_when_it_is_unpickled_is_refused_where_it_does() -> None:
    with pytest.raises(ModuleLoadError, match=r"test_loading\.py, line \d+, calls flyteray\.run"):
        pickling.load(pickling.Payload(pickle.dumps(Starts()), []))


def test_loading_in_one_thread_is_nothing_to_a_task_or_an_older_thread_in_another() -> None:
    said: list[object] = []
    begin = threading.Event()

    def ask() -> None:
        begin.wait()
        try:
            loads().refuse("flyteray.run", threading.current_thread())
            said.append(None)
        except ModuleLoadError as error:
            said.append(error)

    def in_a_task() -> None:
        task_context.set(TaskContext(action=ActionID(name="a0", run_name="r")))
        ask()

    old = threading.Thread(target=ask)
    old.start()
    with loads().loading():
        young, of_a_task = threading.Thread(target=ask), threading.Thread(target=in_a_task)
        young.start(), of_a_task.start()
        begin.set()
        for thread in (old, young, of_a_task):
            thread.join()

    assert sorted(type(each).__name__ for each in said) == ["ModuleLoadError", "NoneType", "NoneType"]
