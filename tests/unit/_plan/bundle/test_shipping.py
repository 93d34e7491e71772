from __future__ import annotations

import importlib
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import flyteray
from flyteray._plan.bundle import bundle, code, imports, references
from flyteray._plan.bundle.bundle import Bundle
from flyteray._plan.bundle.shipping import Shipping
from flyteray._plan.spec import CodeRef
from flyteray.errors import CodeBundleError, ImageBuildError, ModuleLoadError

TASK = """
import flyteray
{imports}
env = flyteray.TaskEnvironment("shipped", include={include!r})

@env.task
def work() -> str:
    return "done"
"""


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def task(module: str, **shipping: Any) -> tuple[CodeRef, Bundle]:
    return code.ship(importlib.import_module(module).work, Shipping(**shipping))


def names(made: Bundle) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(made.data)).namelist()


def source(imports: str = "", include: tuple[str, ...] = ()) -> str:
    return TASK.format(imports=imports, include=include)


def test_the_modules_that_are_imported_directly_or_not_are_shipped_and_nothing_else(project: Path) -> None:
    write(
        project,
        {
            "st_entry.py": source("import json\nimport numpy\nfrom st_pkg import inner"),
            "st_pkg/__init__.py": "",
            "st_pkg/inner.py": "from . import other\n",
            "st_pkg/other.py": "def f():\n    import st_lazy\n",
            "st_lazy.py": "1 / 0  # shipping imports nothing\n",
            "st_unrelated.py": "",
            "st_pkg/unrelated.txt": "",
        },
    )

    ref, made = task("st_entry")

    assert (ref.module, ref.name, ref.bundle) == ("st_entry", "work", made.digest)
    assert names(made) == [
        "st_entry.py",
        "st_lazy.py",
        "st_pkg/__init__.py",
        "st_pkg/inner.py",
        "st_pkg/other.py",
    ]


def test_a_changed_line_in_a_sibling_changes_the_digest_and_one_elsewhere_does_not(project: Path) -> None:
    write(project, {"st_entry.py": source("import st_near"), "st_near.py": "x = 1\n", "st_far.py": "y = 1\n"})
    _, first = task("st_entry")

    write(project, {"st_far.py": "y = 1  # a comment\n"})
    assert task("st_entry")[1].digest == first.digest

    write(project, {"st_near.py": "x = 2\n"})
    assert task("st_entry")[1].digest != first.digest


def test_a_copy_of_a_task_with_other_settings_is_found_by_the_name_of_the_task(project: Path) -> None:
    write(project, {"st_entry.py": source()})
    work = importlib.import_module("st_entry").work

    assert code.ship(work.override(retries=3)) == code.ship(work)


def test_all_files_below_the_root_are_shipped_but_those_that_ignore_files_name(project: Path) -> None:
    write(
        project,
        {
            "st_entry.py": source("import st_generated"),
            "st_generated.py": "",
            "data/table.csv": "",
            "data/.gitignore": "*.tmp\n",
            "data/scratch.tmp": "",
            "big/model.bin": "",
            "notes.txt": "",
            "kept.log": "",
            "old.log": "",
            ".gitignore": "notes.txt\nst_generated.py\n",
            ".flyteignore": "big/\n!kept.log\n",
            ".venv/lib.py": "",
            "other/pyvenv.cfg": "",
            "__pycache__/x.pyc": "",
            ".git/config": "",
        },
    )
    (project / "data/loop").symlink_to(project)

    _, made = task("st_entry", copy_style="all")

    assert names(made) == [
        ".flyteignore",
        ".gitignore",
        "data/.gitignore",
        "data/table.csv",
        "kept.log",
        "st_entry.py",
        "st_generated.py",  # ignored, but imported
    ]


def test_an_ignore_file_of_the_repository_counts_below_it(project: Path) -> None:
    write(project, {".gitignore": "*.csv\n", "sub/st_entry.py": source(), "sub/a.csv": "", "sub/b.txt": ""})
    (project / ".git").mkdir()
    sys.path.insert(0, str(project / "sub"))

    assert names(task("st_entry", copy_style="all")[1]) == ["b.txt", "st_entry.py"]


def test_below_a_root_files_keep_their_places_and_modules_stay_importable(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write(outside, {"st_lib/__init__.py": "", "st_lib/part.py": "NAME = 'part'\n"})
    write(
        project,
        {
            "src/st_entry.py": source("import st_tool, st_lib.part"),
            "tools/st_tool.py": "from pathlib import Path\nHERE = Path(__file__).parent\n",
            "README": "",
        },
    )
    sys.path[:0] = [str(project / "src"), str(project / "tools"), str(outside)]

    ref, made = task("st_entry", root_dir=project)

    assert names(made) == [
        ".flyteray/modules/st_lib/__init__.py",
        ".flyteray/modules/st_lib/part.py",
        ".flyteray/paths",
        "src/st_entry.py",
        "tools/st_tool.py",
    ]
    for name in ("st_entry", "st_tool", "st_lib", "st_lib.part"):
        del sys.modules[name]
    del sys.path[:3]
    folder = bundle.activate(ref.bundle, lambda: made.data, project / "cache")
    assert references.load(ref, folder)() == "done"
    assert folder / "tools" == sys.modules["st_tool"].HERE


def test_a_root_that_does_not_contain_the_module_is_refused(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write(project, {"st_entry.py": source()})

    with pytest.raises(CodeBundleError, match=r"st_entry\.py is outside the root_dir"):
        task("st_entry", root_dir=tmp_path_factory.mktemp("elsewhere"))


def test_included_files_are_beside_the_code_as_they_are_here(project: Path) -> None:
    write(
        project,
        {
            "st_pkg/__init__.py": "",
            "st_pkg/entry.py": source(include=("prompts", "*.json", "../shared/x.txt", "run.sh")),
            "st_pkg/prompts/a.txt": "",
            "st_pkg/prompts/deep/b.txt": "",
            "st_pkg/prompts/__pycache__/c.pyc": "",
            "st_pkg/settings.json": "{}",
            "st_pkg/other.txt": "",
            "st_pkg/run.sh": "",
            "shared/x.txt": "",
            ".gitignore": "prompts/\n",
        },
    )

    assert names(task("st_pkg.entry")[1]) == [
        "shared/x.txt",
        "st_pkg/__init__.py",
        "st_pkg/entry.py",
        "st_pkg/prompts/a.txt",
        "st_pkg/prompts/deep/b.txt",
        "st_pkg/run.sh",
        "st_pkg/settings.json",
    ]


def test_files_below_a_folder_of_odd_name_are_included(project: Path) -> None:
    root = project / "run[1]*"
    write(root, {"st_entry.py": source(include=("data/*.txt",)), "data/a.txt": "", "data/b.csv": ""})
    sys.path.insert(0, str(root))

    assert names(task("st_entry")[1]) == ["data/a.txt", "st_entry.py"]


def test_what_an_environment_depends_on_has_its_files_included_too(project: Path) -> None:
    write(
        project,
        {
            "st_dep.py": "import flyteray\nneeded = flyteray.TaskEnvironment('needed', include=('data/**',))\n",
            "data/a/b.txt": "",
            "data/__pycache__/c.pyc": "",
            "st_entry.py": source("from st_dep import needed") + "\nenv.add_dependency(needed)\n",
        },
    )

    assert names(task("st_entry")[1]) == ["data/a/b.txt", "st_dep.py", "st_entry.py"]


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("*.parquet", r"'shipped' includes '\*\.parquet', but nothing in .* is called so"),
        ("gone.txt", r"includes 'gone\.txt', but nothing in"),
        ("../../outside.txt", r"outside\.txt is outside .*give a root_dir that contains both"),
    ],
)
def test_files_that_can_not_be_included_are_named(project: Path, include: str, message: str) -> None:
    write(project, {"a/b/st_entry.py": source(include=(include,)), "outside.txt": ""})
    sys.path.insert(0, str(project / "a/b"))

    with pytest.raises(CodeBundleError, match=message):
        task("st_entry")


def test_one_place_can_not_hold_two_files(project: Path) -> None:
    depends = "from st_dep import needed"
    write(
        project,
        {
            "one/st_entry.py": source(depends, include=("x.txt",)) + "\nenv.add_dependency(needed)\n",
            "one/x.txt": "",
            "two/st_dep.py": "import flyteray\nneeded = flyteray.TaskEnvironment('n', include=('x.txt',))\n",
            "two/x.txt": "",
        },
    )
    sys.path[:0] = [str(project / "one"), str(project / "two")]

    with pytest.raises(CodeBundleError, match=r"one/x\.txt and .*two/x\.txt would both be 'x\.txt'"):
        task("st_entry")


def with_image(layers: str) -> str:
    return source("from flyteray import Image").replace(
        "include=()", f"image=Image.from_debian_base(){layers}"
    )


def test_files_of_an_image_are_placed_beside_the_code(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write(outside, {"a.txt": "", "folder/b.txt": "", "folder/deep/c.txt": "", "folder/__pycache__/d.pyc": ""})
    layers = (
        f".with_source_file({str(outside / 'a.txt')!r}, 'data').with_source_file({str(outside / 'a.txt')!r})"
        f".with_source_folder({str(outside / 'folder')!r}).with_source_folder({str(outside / 'folder/deep')!r}, 'd')"
    )
    write(project, {"st_entry.py": with_image(layers)})

    assert names(task("st_entry")[1]) == [
        "a.txt",
        "d/c.txt",
        "data/a.txt",
        "folder/b.txt",
        "folder/deep/c.txt",
        "st_entry.py",
    ]


def test_a_file_of_an_image_must_exist_and_be_placed_below_the_code(project: Path) -> None:
    here = str(project / "st_placed.py")
    write(project, {"st_gone.py": with_image(".with_source_file('gone.txt')")})
    write(project, {"st_placed.py": with_image(f".with_source_file({here!r}, '/etc')")})

    with pytest.raises(ImageBuildError, match=r"gone\.txt does not exist"):
        task("st_gone")
    with pytest.raises(CodeBundleError, match=r"puts .*st_placed\.py at '/etc'.*relative"):
        task("st_placed")


def test_nothing_is_shipped_but_what_is_included(project: Path) -> None:
    write(project, {"st_bare.py": source(), "st_entry.py": source(include=("x.txt",)), "x.txt": ""})

    ref, made = task("st_bare", copy_style="none", version="v1")
    assert (ref.bundle, ref.version, made.contents) == ("", "v1", {})
    assert references.load(ref, None)() == "done"

    assert names(task("st_entry", copy_style="none", version="v1")[1]) == ["x.txt"]


def test_a_module_that_the_cluster_lacks_is_told_apart_from_one_that_was_shipped() -> None:
    with pytest.raises(ModuleLoadError, match=r"st_gone.*Nothing was shipped with it"):
        references.load(CodeRef(bundle="", module="st_gone", name="work"), None)


def test_code_that_came_in_a_bundle_is_not_shipped_again(project: Path) -> None:
    write(project, {"st_entry.py": source(include=("x.txt",)), "x.txt": ""})
    ref, made = task("st_entry")
    data = made.data
    (project / "st_entry.py").unlink()
    del sys.modules["st_entry"]
    folder = bundle.activate(ref.bundle, lambda: data, project / "cache")

    again, empty = code.ship(references.load(ref, folder))

    assert again == ref
    assert empty.contents is None


def test_a_copy_of_what_is_shipped_can_be_looked_at(project: Path) -> None:
    write(project, {"st_entry.py": source()})

    ref, made = task("st_entry", copy_bundle_to=project / "copies")

    assert (project / f"copies/{ref.bundle}.zip").read_bytes() == made.data


def test_a_module_without_source_can_not_be_shipped(project: Path) -> None:
    write(project, {"st_entry.py": source()})
    module = importlib.import_module("st_entry")
    del module.__file__

    with pytest.raises(CodeBundleError, match="'st_entry' has no source file of yours"):
        task("st_entry")


def test_broken_code_is_named_with_its_line(project: Path) -> None:
    write(project, {"st_broken.py": "x = 1\ndef f(:\n"})

    with pytest.raises(CodeBundleError, match=r"st_broken\.py is not valid Python: .*line 2"):
        imports.closure(["st_broken"])


def test_a_file_is_looked_at_again_when_it_has_just_been_written(project: Path) -> None:
    for number in range(20):  # faster than a file system's clock ticks
        write(project, {"st_quick.py": f"import st_m{number:02}\n", f"st_m{number:02}.py": ""})
        assert f"st_m{number:02}" in imports.closure(["st_quick"])


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"copy_style": "custom"}, "copy_style must be one of 'loaded_modules', 'all', 'none', not 'custom'"),
        ({"copy_style": "none"}, "Version is required when copy_style is 'none'"),
        ({"copy_style": "none", "version": "v", "interactive": True}, "ships nothing"),
        ({"root_dir": "/nowhere"}, "root_dir '/nowhere' is no folder"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shipping(**wish)


def test_a_run_refuses_them_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="copy_style must be one of"):
        flyteray.with_runcontext(copy_style="custom")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Version is required"):
        flyteray.with_runcontext(copy_style="none")


def test_an_app_is_found_in_the_module_that_declares_it_and_not_where_it_is_imported(project: Path) -> None:
    declaring = "from flyteray.app import AppEnvironment\napp = AppEnvironment('st-app', args='serve')\n"
    write(project, {"st_driver.py": "import st_app\nfrom st_app import app\n", "st_app.py": declaring})
    driver = importlib.import_module("st_driver")
    imported_last = sys.modules.pop("st_app")
    sys.modules["st_app"] = imported_last

    ref, made = code.ship(driver.app)

    assert (ref.module, ref.name) == ("st_app", "app")
    assert names(made) == ["st_app.py"]
