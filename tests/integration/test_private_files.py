"""What nobody but its owner can read: all that flyteray keeps, under any umask."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import flyteray
from flyteray import _private
from flyteray._cluster import local
from flyteray._cluster.local import LocalCluster
from flyteray._plan.bundle import bundle
from flyteray._settings import Settings
from flyteray.storage import open_storage
from tests.integration import sample_private as samples

# As a user's script, in a process of its own.
JOURNEY = """
import json, httpx, flyteray
from flyteray.io import File
from tests.integration import sample_private as samples

File.from_local_sync(samples.__file__)
*_, by_task = flyteray.run(samples.written).outputs()
flyteray.deploy(samples.env)
app = flyteray.serve(samples.web)
flyteray.remote.Secret.create("TOKEN", "t")
print(json.dumps([by_task, httpx.get(app.endpoint, timeout=60).json()]))
"""


def open_to_others(*roots: Path) -> list[str]:
    """Files and folders that others may read or write; but what user code writes, and Ray's folder."""
    found = []
    for root in roots:
        for path in [root, *root.rglob("*")]:
            mode = path.lstat().st_mode
            # Python makes these for user code, by the user's umask.
            cached = path.name == "__pycache__" and _private.is_private(path.parent)
            by_user = path.name == "mine.txt" or "data" in path.relative_to(root).parts
            if mode & 0o077 and not stat.S_ISLNK(mode) and not by_user and not cached:
                found.append(f"{mode & 0o7777:o} {path}")
    return found


def parts(temp_dir: Path) -> list[Path]:
    """What a local cluster has in its folder besides Ray's."""
    return [path for path in temp_dir.iterdir() if path.name != "ray"]


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_fresh_home_is_its_owners_alone(cluster: LocalCluster) -> None:
    outputs = flyteray.run(samples.written).outputs()
    app = flyteray.serve(samples.web)
    own_umask = os.umask(0o022)
    os.umask(own_umask)

    as_a_script = f"{0o666 & ~own_umask:o}"
    assert (outputs[2], httpx.get(app.endpoint, timeout=60).json()) == (as_a_script, as_a_script)
    home = Path(os.environ["FLYTERAY_HOME"])
    assert (home / "storage" / "registry.sqlite").exists()
    assert any((home / "storage" / "bundles").iterdir())
    assert open_to_others(home, *parts(cluster.temp_dir)) == []
    assert stat.S_IMODE(cluster.temp_dir.stat().st_mode) == 0o700
    flyteray.remote.App.delete("private-web")


def test_a_home_that_is_open_to_all_is_closed_and_nothing_in_it_depends_on_the_umask(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    settings = Settings.of({"FLYTERAY_HOME": str(home), "FLYTERAY_NUM_CPUS": "2"})
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FLYTERAY_"))
    }
    ours = {"FLYTERAY_HOME": str(home), "FLYTERAY_NUM_CPUS": "2"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", JOURNEY],
            env=inherited | ours,
            cwd=Path(__file__).parents[2],
            umask=0,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == ["666", "666"]  # user code has the user's umask
        assert open_to_others(home, *parts(settings.temp_dir)) == []
        assert stat.S_IMODE(settings.temp_dir.stat().st_mode) == 0o700
    finally:
        local.stop(settings)


@pytest.mark.usefixtures("loose_umask")
def test_what_is_made_is_private_from_the_first_moment(tmp_path: Path) -> None:
    root = _private.folder(tmp_path / "a" / "b")
    _private.write(root / "c", "text")
    with _private.opened(root / "d", "a"):
        pass
    open_storage(root).put("e/f/g", b"data")
    with open_storage(root).writer("e/h") as file:
        file.write(b"data")
        assert open_to_others(tmp_path / "a") == []

    assert open_to_others(tmp_path / "a") == []
    packed = bundle.pack({"package/module.py": b"", "script.sh": b""})
    code = bundle.activate(packed.digest, lambda: packed.data, tmp_path / "bundles")
    try:
        assert open_to_others(tmp_path / "bundles") == []
        assert not os.access(code / "package" / "module.py", os.W_OK) or os.getuid() == 0
    finally:
        sys.path.remove(str(code))
        del bundle.active()[packed.digest]


@pytest.mark.usefixtures("loose_umask")
def test_where_the_user_has_files_flytes_are_as_any_others(tmp_path: Path) -> None:
    shared, given = tmp_path / "shared", tmp_path / "given"
    for folder in (shared, given):
        folder.mkdir()
    shared.chmod(0o2770)
    _private.rooms(shared, "bundles")
    _private.rooms(given, "bundles")
    open_storage(given).put("mine", b"")

    assert stat.S_IMODE((shared / "bundles").stat().st_mode) & 0o777 == 0o777
    assert stat.S_IMODE((given / "bundles").stat().st_mode) == 0o700
    assert stat.S_IMODE((given / "mine").stat().st_mode) == 0o666
