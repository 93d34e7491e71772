from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from flyteray._declare.tasks.task import Task
from flyteray._plan.bundle import bundle, references
from flyteray._plan.bundle.bundle import pack
from flyteray._plan.bundle.code import load_file, lookup
from flyteray._plan.spec import CodeRef
from flyteray.app import AppEnvironment
from flyteray.errors import CodeBundleError, ModuleLoadError


def test_equal_content_has_an_equal_digest_and_another_name_content_or_mode_another(tmp_path: Path) -> None:
    file, same = tmp_path / "a", tmp_path / "b"
    file.write_text("x = 1\n")
    same.write_text("x = 1\n")
    digests = {pack({"m.py": file}).digest, pack({"m.py": same}).digest, pack({"m.py": b"x = 1\n"}).digest}
    assert len(digests) == 1

    digests.add(pack({"n.py": file}).digest)
    same.write_text("x = 2\n")
    digests.add(pack({"m.py": same}).digest)
    file.chmod(0o755)
    digests.add(pack({"m.py": file}).digest)
    digests.add(pack({"m.py": file}, ["src"]).digest)
    assert len(digests) == 5


def test_an_active_bundle_is_importable_and_fetched_once_per_cache(tmp_path: Path, own_path: None) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    made = pack({"src/bt_ship.py": b"VALUE = 7\n", "bin/program": program}, ["src", "."])
    fetched: list[int] = []

    def fetch() -> bytes:
        fetched.append(1)
        return made.data

    for _ in range(2):
        folder = bundle.activate(made.digest, fetch, tmp_path / "cache")

    assert len(fetched) == 1
    assert sys.path[:2] == [str(folder / "src"), str(folder)]
    assert importlib.import_module("bt_ship").VALUE == 7
    assert subprocess.check_output([folder / "bin/program"]) == b"hello\n"
    assert not (folder / "src/bt_ship.py").stat().st_mode & 0o222


def test_code_that_changes_while_it_is_shipped_is_told(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("x = 1\n")
    made = pack({"m.py": file})
    file.write_text("x = 2\n")

    with pytest.raises(CodeBundleError, match="changed while it was being shipped"):
        made.data  # noqa: B018


def test_what_is_too_large_is_named(tmp_path: Path) -> None:
    large = tmp_path / "weights.bin"
    with open(large, "wb") as file:
        file.truncate(bundle.LARGEST)

    with pytest.raises(
        CodeBundleError, match=r"256\.0 MiB in 2 files.*largest are w\.bin \(256\.0 MiB\).*\.flyteignore"
    ):
        pack({"w.bin": large, "m.py": b"x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodeBundleError, match=r"gone\.py can't be read: No such file"):
        pack({"gone.py": tmp_path / "gone.py"})


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


def test_code_that_ends_the_process_when_it_is_imported_is_told_where_to_put_that(project: Path) -> None:
    (project / "bt_leaves.py").write_text("raise SystemExit(3)\n")
    advice = r"ends the process \(3\) when it is imported.*__main__"

    with pytest.raises(ModuleLoadError, match=f"'bt_leaves' {advice}"):
        references.load(CodeRef(bundle="", module="bt_leaves", name="env"), None)
    with pytest.raises(ModuleLoadError, match=advice):
        load_file(project / "bt_leaves.py")


def test_a_missing_name_lists_what_there_is(project: Path) -> None:
    (project / "bt_tasks.py").write_text(
        "import flyteray\nenv = flyteray.TaskEnvironment('e')\n@env.task\ndef train(): ...\n"
    )

    with pytest.raises(ModuleLoadError, match="'tran' in 'bt_tasks' does not exist; it has: train"):
        lookup(load_file(project / "bt_tasks.py"), "tran", Task)


def test_who_gives_a_full_name_is_told_what_the_file_calls_it(project: Path) -> None:
    (project / "bt_named.py").write_text(
        "import flyteray\nfrom flyteray.app import AppEnvironment\nenv = flyteray.TaskEnvironment('e')\n"
        "@env.task\ndef train(): ...\nui = AppEnvironment(name='page', args='true')\n"
    )
    module = load_file(project / "bt_named.py")

    with pytest.raises(ModuleLoadError, match=r"That is the name of what is here called 'train'\.$"):
        lookup(module, "e.train", Task)
    with pytest.raises(ModuleLoadError, match=r"That is the name of what is here called 'ui'\.$"):
        lookup(module, "page", AppEnvironment)
    with pytest.raises(ModuleLoadError, match=r"it has: train\. Did you mean 'train'\?$"):
        lookup(module, "trian", Task)
