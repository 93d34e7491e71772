"""What nobody but its owner can read: all that flyteray keeps, under any umask."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import flyteray
from flyteray import _private
from flyteray._cluster.local import LocalCluster
from flyteray._plan.bundle import bundle
from flyteray.storage import open_storage
from tests.integration import sample_private as samples
from tests.open_files import open_to_others, own_parts


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
    assert open_to_others(home, *own_parts(cluster.temp_dir)) == []
    assert stat.S_IMODE(cluster.temp_dir.stat().st_mode) == 0o700
    flyteray.remote.App.delete("private-web")


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
