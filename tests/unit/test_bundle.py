from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flyteray._declare.task import Task
from flyteray._plan import bundle
from flyteray._plan.code import load_file, lookup
from flyteray.errors import CodeBundleError, ModuleLoadError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on sys.path whose modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(made: bundle.Bundle) -> list[str]:
    import io
    import zipfile

    return zipfile.ZipFile(io.BytesIO(made.data)).namelist()


def test_a_bundle_holds_what_is_imported_directly_or_not_and_nothing_else(project: Path) -> None:
    (project / "bt_entry.py").write_text("import json\nimport numpy\nfrom bt_pkg import inner\n")
    (project / "bt_pkg").mkdir()
    (project / "bt_pkg" / "__init__.py").write_text("")
    (project / "bt_pkg" / "inner.py").write_text("from . import other\n")
    (project / "bt_pkg" / "other.py").write_text("def f():\n    import bt_lazy\n")
    (project / "bt_lazy.py").write_text("")
    (project / "bt_unrelated.py").write_text("")

    made = bundle.build("bt_entry")

    assert names(made) == [
        "bt_entry.py",
        "bt_lazy.py",
        "bt_pkg/__init__.py",
        "bt_pkg/inner.py",
        "bt_pkg/other.py",
    ]


def test_equal_code_has_an_equal_digest_and_a_changed_line_another(project: Path) -> None:
    (project / "bt_same.py").write_text("x = 1\n")
    first = bundle.build("bt_same")
    (project / "bt_same.py").touch()

    assert bundle.build("bt_same") == first
    (project / "bt_same.py").write_text("x = 2\n")
    assert bundle.build("bt_same").digest != first.digest


def test_an_active_bundle_is_importable_and_fetched_once_per_cache(project: Path, tmp_path: Path) -> None:
    (project / "bt_ship.py").write_text("VALUE = 7\n")
    made = bundle.build("bt_ship")
    fetched: list[int] = []

    def fetch() -> bytes:
        fetched.append(1)
        return made.data

    for _ in range(2):
        folder = bundle.activate(made.digest, fetch, tmp_path / "cache")
        sys.path.remove(str(folder))

    assert len(fetched) == 1
    assert (folder / "bt_ship.py").read_text() == "VALUE = 7\n"


def test_a_module_without_source_cannot_be_shipped() -> None:
    with pytest.raises(CodeBundleError, match="'math' has no source file"):
        bundle.build("math")


def test_a_missing_file_says_where_it_was_looked_for() -> None:
    with pytest.raises(ModuleLoadError, match=r"no file 'nowhere.py'.*working directory"):
        load_file("nowhere.py")


def test_what_is_not_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")

    with pytest.raises(ModuleLoadError, match=r"ends in \.py"):
        load_file(tmp_path / "notes.txt")


def test_an_error_inside_the_file_is_the_cause(project: Path) -> None:
    (project / "bt_broken.py").write_text("1 / 0\n")

    with pytest.raises(
        ModuleLoadError, match=r"bt_broken.py' could not be imported: ZeroDivisionError"
    ) as caught:
        load_file(project / "bt_broken.py")

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_missing_name_lists_what_there_is(project: Path) -> None:
    (project / "bt_tasks.py").write_text(
        "import flyteray\nenv = flyteray.TaskEnvironment('e')\n@env.task\ndef train(): ...\n"
    )

    with pytest.raises(ModuleLoadError, match="'tran' in 'bt_tasks' does not exist; it has: train"):
        lookup(load_file(project / "bt_tasks.py"), "tran", Task)
