"""`flyte` as another name of flyteray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flyteray._plan.bundle import alias, bundle

REAL = "NAME = 'the real one'\n"


def in_a_process(program: str, *folders: Path) -> object:
    """What a program says as JSON that a fresh Python runs."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\nfrom flyteray._plan.bundle import alias\n{program}"],
        env={"PYTHONPATH": ":".join(map(str, folders))},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_modules_and_classes_are_flyterays_own() -> None:
    assert in_a_process(
        "alias.install()\n"
        "import flyte.app.extras, flyte, flyteray.app\n"
        "from flyte.io import File\n"
        "import flyteray.io\n"
        "print(json.dumps([flyte.app is flyteray.app, File is flyteray.io.File, flyte.__spec__.name]))"
    ) == [True, True, "flyteray"]


def test_an_installed_flyte_is_not_used_even_where_it_is_loaded_already(tmp_path: Path) -> None:
    (tmp_path / "flyte").mkdir()
    (tmp_path / "flyte" / "__init__.py").write_text(REAL)
    (tmp_path / "flyte" / "app.py").write_text(REAL)

    assert in_a_process(
        "import flyte.app\n"
        "was = flyte.app.NAME\n"
        "alias.install(); alias.install()\n"
        "import flyte.app as now\n"
        "print(json.dumps([was, now.__name__]))",
        tmp_path,
    ) == ["the real one", "flyteray.app"]


@pytest.mark.parametrize("statement", ["import flyte.nothing", "from flyte.app import nothing"])
def test_a_name_that_flyteray_lacks_is_told_as_one(statement: str) -> None:
    said = in_a_process(
        f"alias.install()\ntry:\n    {statement}\nexcept ImportError as error:\n    print(json.dumps(str(error)))"
    )

    assert "nothing" in str(said)
    assert "flyteray" in str(said)


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flyte_tools.py").write_text(REAL)

    assert (
        in_a_process("alias.install()\nimport flyte_tools\nprint(json.dumps(flyte_tools.NAME))", tmp_path)
        == "the real one"
    )


def test_processes_that_it_starts_mean_it_too_and_a_cluster_does_not(tmp_path: Path) -> None:
    (tmp_path / "flyte.py").write_text(REAL)
    child = "import flyte.app; print(flyte.app.__name__)"

    said = in_a_process(
        "import os, subprocess\n"
        "alias.install()\n"
        f"child = subprocess.run([sys.executable, '-c', {child!r}], capture_output=True, text=True, check=True)\n"
        "print(json.dumps([child.stdout.strip(), alias.without(os.environ['PYTHONPATH'])]))",
        tmp_path,
    )

    assert said == ["flyteray.app", str(tmp_path)]


def test_processes_of_multiprocessing_mean_it_too(tmp_path: Path) -> None:
    (tmp_path / "flyte.py").write_text(REAL)
    (tmp_path / "work.py").write_text("import flyte\ndef name(_): return flyte.__name__\n")

    said = in_a_process(
        "import multiprocessing\n"
        "alias.install()\n"
        "import work\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    print(json.dumps(pool.map(work.name, [1])))",
        tmp_path,
    )

    assert said == ["flyteray"]


def test_who_was_only_handed_the_path_means_what_is_installed(tmp_path: Path) -> None:
    (tmp_path / "flyte.py").write_text(REAL)

    assert (
        in_a_process(
            f"sys.path.insert(0, {str(Path(alias.__file__).parent / 'flyte_path')!r})\n"
            "import flyte\n"
            "print(json.dumps(flyte.NAME))",
            tmp_path,
        )
        == "the real one"
    )


def test_a_bundle_says_that_its_code_means_flyteray(tmp_path: Path) -> None:
    packed = bundle.pack({"script.py": b"import flyte\n", bundle.AS_FLYTE: b""})
    (tmp_path / "bundle").write_bytes(packed.data)

    assert (
        in_a_process(
            "from pathlib import Path\n"
            "from flyteray._plan.bundle import bundle\n"
            f"bundle.activate('digest', Path({str(tmp_path / 'bundle')!r}).read_bytes, Path({str(tmp_path)!r}))\n"
            "import script\n"
            "print(json.dumps(script.flyte.__name__))"
        )
        == "flyteray"
    )
    assert packed.digest != bundle.pack({"script.py": b"import flyte\n"}).digest


def test_nothing_changes_where_nobody_asked_for_it() -> None:
    assert not alias.installed()
    assert alias.paths() == []
