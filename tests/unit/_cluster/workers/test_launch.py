"""How processes are started: the command is executed as Ray executes it, without Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyteray._cluster.workers import launch, variables
from flyteray._cluster.workers.launch import NO_IMAGE, Start
from flyteray._plan.spec import EnvironmentSpec

TOLD = "import json, os, sys, time; print(json.dumps([dict(os.environ), sys.argv[1:], time.tzname[0], sys.executable]))"


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FLYTERAY_CACHE", str(tmp_path / "it's the node's"))
    for name in ("OMP_NUM_THREADS", "FLYTERAY_PYTHON", "FLYTERAY_THREADS"):
        monkeypatch.delenv(name, raising=False)
    launch._is_free.cache_clear()
    yield tmp_path / "it's the node's"
    launch._is_free.cache_clear()


def started(command: str, *arguments: str) -> Any:
    """What a process says that is started so; its arguments are quoted for the shell, as Ray does it."""
    words = ["bash", "-c", f"exec {command} -c '{TOLD}' '--option=a b'"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def put(chosen: dict[str, str]) -> str:
    """Keep variables on the node alone."""
    key = variables.key_of(chosen)
    variables._write(key, variables._packed(chosen))
    return key


def test_a_process_is_started_with_its_variables_exactly_as_they_are_written() -> None:
    chosen = {
        "TZ": "Asia/Tokyo",
        "PYTHONPATH": "/a:/b",
        "LD_LIBRARY_PATH": "/opt/lib",
        "PASSWORD": "p$PATH@h ${HOME} ${NOPE} $$ `id`\n'\"=é \\n",
        "EMPTY": "",
        "PATH": "/nowhere",
        "UID": "7",  # which bash lets nobody set
        "a.b-c": "no name for a shell",
        "fr_run": "no name of ours",
        "D": "d",
    }

    environ, arguments, zone, python = started(launch.command(variables=put(chosen)))

    assert {name: environ[name] for name in chosen} == chosen
    assert (arguments, zone, python) == (["--option=a b"], "JST", sys.executable)


def test_variables_of_the_node_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("D", "P", "T", "HOME"):
        monkeypatch.setenv(name, f"the node's {name}")

    environ, *_ = started(launch.command(variables=put({"A": "b"})))

    assert all(environ[name] == f"the node's {name}" for name in ("D", "P", "T", "HOME"))


def test_variables_lie_where_only_their_user_reads_them(node: Path) -> None:
    old = os.umask(0)
    try:
        key = put({"TOKEN": "t"})
    finally:
        os.umask(old)

    (folder,) = node.iterdir()
    assert (folder / key).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_a_process_sees_of_accelerators_is_told_once_ray_has_counted_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    chosen = {"CUDA_VISIBLE_DEVICES": "3", "A": "b"}

    environ, *_ = started(launch.command(variables=put(chosen)))
    assert "CUDA_VISIBLE_DEVICES" not in environ

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # Ray's
    monkeypatch.setenv("A", "changed by an earlier call")
    launch.settle(chosen)
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["A"]) == ("3", "b")


@pytest.mark.parametrize(("cpus", "threads"), [(0, 0), (0.5, 1), (1, 1), (2, 2), (2.5, 2), (64, 64)])
def test_threads_follow_the_cpus_that_are_asked_for(cpus: float, threads: int) -> None:
    assert launch.threads_of(EnvironmentSpec(num_cpus=cpus)) == threads


def test_where_no_cpus_are_asked_for_threads_are_as_in_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    environ, *_ = started(launch.command(threads=0))
    # For what is imported before user code: Ray would say 1.
    assert int(environ["OMP_NUM_THREADS"]) == len(os.sched_getaffinity(0))

    monkeypatch.setenv("FLYTERAY_THREADS", environ["FLYTERAY_THREADS"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # Ray's
    launch._is_free.cache_clear()  # as in a process that has begun so
    launch.settle({})
    assert "OMP_NUM_THREADS" not in os.environ
    launch.settle({"OMP_NUM_THREADS": "5"})
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_the_threads_of_whoever_started_ray_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    environ, *_ = started(launch.command(threads=0))

    assert environ["OMP_NUM_THREADS"] == "3"
    assert "FLYTERAY_THREADS" not in environ


def test_ray_is_told_no_variable_and_nothing_where_nothing_is_asked_for() -> None:
    assert launch.runtime_env("x", NO_IMAGE, None, 1) == {"env_vars": {"FLYTERAY_CODE": "x"}}
    told = launch.runtime_env("x", NO_IMAGE, put({"TOKEN": "s3cret"}), 1)
    assert "s3cret" not in str(told)
    assert "TOKEN" not in str(told)
    assert launch.runtime_env("x", Start(container="c:1"), None, 1)["image_uri"] == "c:1"


def test_a_child_does_not_inherit_how_its_parent_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_PYTHON", sys.executable)
    told = launch.runtime_env(
        "x", NO_IMAGE, None, 1
    )  # Ray would take the parent's command where it names none

    *_, python = started(told["py_executable"])

    assert python == sys.executable


def test_a_plain_ray_task_that_inherits_the_command_keeps_the_packages_that_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activated = tmp_path / "runtime_resources" / "pip" / "x" / "virtualenv"  # as Ray names it
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", activated], check=True)
    monkeypatch.setenv("VIRTUAL_ENV", str(activated))

    environ, *_, python = started(launch.command(variables=put({"A": "b"})))

    assert (environ["A"], python) == ("b", str(activated / "bin" / "python"))
    assert environ["PATH"].startswith(f"{activated}/bin:")
