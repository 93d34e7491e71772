from __future__ import annotations

from pathlib import Path

import pytest

from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.files import Files
from flyteray._ingress.haproxy.login.pages import pages
from flyteray._ingress.routes import IngressState, Slot
from flyteray._ingress.trusted_proxies import NOBODY

ONE = Slot("127.0.0.1", 4001)
STATE = IngressState({"hello": 3}, {3: {1: ONE}}, hosts={"x.localhost": "hello"}, waits={"hello": 9})


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path, NOBODY)


def written(directory: Path, files: Files, state: IngressState) -> set[str]:
    """The files that are others after a state is written."""
    before = {path.name: path.stat().st_ino for path in directory.iterdir()}
    files.write(state)
    return {path.name for path in directory.iterdir() if path.stat().st_ino != before.get(path.name)}


def test_all_are_written_at_first(tmp_path: Path, files: Files) -> None:
    every = {"haproxy.cfg", "flyteray.lua", maps.TOLD, *pages(), *maps.FILES, *maps.FOR_ACTIVATOR}

    assert written(tmp_path, files, STATE) == every
    assert {path.name for path in tmp_path.iterdir()} == every


def test_only_what_changed_is_written_after_that(tmp_path: Path, files: Files) -> None:
    files.write(STATE)

    assert written(tmp_path, files, STATE) == set()
    more = IngressState({"hello": 3}, {3: {1: ONE, 2: ONE}}, STATE.hosts, waits=STATE.waits)
    assert written(tmp_path, files, more) == {"haproxy.cfg"}
    assert "    server s2 127.0.0.1:4001" in (tmp_path / "haproxy.cfg").read_text()
    moved = IngressState({"hello": 3}, more.backends, {"y.localhost": "hello"}, waits=STATE.waits)
    assert written(tmp_path, files, moved) == {"hosts.map"}
    assert (tmp_path / "hosts.map").read_text() == "y.localhost hello\n"


def test_backends_never_become_fewer(tmp_path: Path, files: Files) -> None:
    files.write(IngressState({"hello": 300}))
    files.write(STATE)

    assert files.backends == 512
    assert "backend b511\n" in (tmp_path / "haproxy.cfg").read_text()


def test_the_state_is_read_as_it_was_written(tmp_path: Path, files: Files) -> None:
    files.write(STATE)

    assert Files(tmp_path, NOBODY).last_state() == STATE.without_replicas()
