"""A secret reaches the app and the tasks that ask for it, and can be read nowhere else."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest
from ray.util import state

import flyteray as flyte
from flyteray._cluster.local import LocalCluster
from flyteray._settings import Settings
from flyteray.errors import SecretNotFoundError
from flyteray.remote import App, Secret
from tests.integration import sample_secrets as samples
from tests.waiting import eventually

DASHBOARD = [
    *("/api/actors", "/logical/actors", "/nodes?view=details", "/nodes?view=summary", "/api/jobs/"),
    *("/api/serve/applications/", "/api/cluster_status", "/api/snapshot", "/events", "/api/runtime_envs"),
    *("actors", "jobs", "nodes", "objects", "placement_groups", "runtime_envs", "tasks", "workers"),
]


def in_any_form(value: str) -> list[bytes]:
    """What a value looks like where it leaks: as it is, in hexadecimal, within base64, in a URL."""
    data = value.encode()
    # Within base64 a text begins at one of three places; its ends are shared with what is around it.
    inside = [base64.b64encode(b"\0" * shift + data)[4:-4] for shift in range(3)]
    return [data, data.hex().encode(), *inside, quote(value, safe="").encode(), data[::-1]]


def in_files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """What is in the files of a cluster that lives: some of them may go while they are read."""
    paths = (Path(parent, name) for each in folders for parent, _, names in os.walk(each) for name in names)
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(path.lstat().st_mode):
                yield str(path), path.read_bytes()


def in_state(cluster: LocalCluster) -> Iterator[tuple[str, bytes]]:
    """What Ray's state API tells in detail."""
    for kind in (
        "actors",
        "jobs",
        "nodes",
        "objects",
        "placement_groups",
        "runtime_envs",
        "tasks",
        "workers",
    ):
        found = getattr(state, f"list_{kind}")(
            address=cluster.dashboard_url,
            detail=True,
            limit=10_000,
            timeout=120,
            raise_on_missing_output=False,  # of a worker that ends meanwhile
        )
        yield kind, repr(found).encode()


def in_dashboard(cluster: LocalCluster) -> Iterator[tuple[str, bytes]]:
    token = cluster.token_path.read_text().strip()
    with httpx.Client(
        base_url=cluster.dashboard_url or "", headers={"authorization": f"Bearer {token}"}, timeout=60
    ) as client:
        for path in DASHBOARD:
            shown = path if path.startswith("/") else f"/api/v0/{path}?detail=true&limit=10000"
            yield shown, client.get(shown).content


def in_processes(cluster: LocalCluster) -> Iterator[tuple[str, bytes]]:
    for pid in cluster.pids():
        try:
            process = psutil.Process(pid)
            yield f"command line of {pid}", "\0".join(process.cmdline()).encode()
            yield f"initial environment of {pid}", Path(f"/proc/{pid}/environ").read_bytes()
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue


def test_what_tasks_and_apps_are_given_can_be_read_nowhere(cluster: LocalCluster) -> None:
    values = [f"value-{uuid.uuid4().hex}-{uuid.uuid4().hex}" for _ in range(2)]
    Secret.create("TOKEN_OF_TESTS", values[0])
    Secret.create("tests/password", values[1])
    token, password = (hashlib.sha256(value.encode()).hexdigest() for value in values)

    app = flyte.serve(samples.app)
    assert httpx.get(f"{app.endpoint}/", timeout=60).json() == [[token, password]] * 2
    run = flyte.run(samples.with_secrets)
    assert run.outputs()[0] == [[token, password], [None, None], [token, None]]

    settings = Settings.load()
    needles = [needle for value in values for needle in in_any_form(value)]
    places = [
        *in_files(settings.home, Path(settings.storage), cluster.temp_dir),
        *in_state(cluster),
        *in_dashboard(cluster),
        *in_processes(cluster),
        (
            "handles",
            repr([app, app.info, run, run.info, Secret.listall(), samples.app, samples.env]).encode(),
        ),
    ]
    seen = b"".join(content for _, content in places)
    assert b"secretive" in seen
    assert b"TOKEN_OF_TESTS" in seen  # the names may be seen: what is searched is what there is
    assert [where for where, content in places if any(needle in content for needle in needles)] == []
    key = settings.secrets_key_path
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "TOKEN_OF_TESTS" not in os.environ
    App.delete("secretive")


def test_a_missing_secret_fails_at_once_with_the_command_that_creates_it(cluster: LocalCluster) -> None:
    with pytest.raises(
        SecretNotFoundError, match=r"'made-it' of group 'nobody'.*`flyteray create secret nobody/made"
    ):
        flyte.run(samples.never)
    with pytest.raises(SecretNotFoundError, match="`flyteray create secret NOBODY_MADE_IT`"):
        flyte.serve(samples.lacking_app)
    Secret.create("TOKEN_OF_TESTS", "x")
    Secret.create("tests/password", "x")
    with pytest.raises(SecretNotFoundError, match="nobody/made-it"):
        flyte.run(samples.parent_of_lacking).outputs()
    Secret.delete("TOKEN_OF_TESTS")


TAKES = """
import hashlib, os, sys
import flyteray as flyte

inner = flyte.TaskEnvironment(name="taking-inner", secrets=flyte.Secret("deep", group="taken"))
outer = flyte.TaskEnvironment(name="taking-outer", secrets="taken-token", depends_on=[inner])

def digest(name):
    return hashlib.sha256(os.environ[name].encode()).hexdigest()

@inner.task
def below() -> str:
    return digest("TAKEN_DEEP")

@outer.task
def above() -> list[str]:
    return [digest("TAKEN_TOKEN"), below()]

if __name__ == "__main__":
    print(*flyte.run(above).outputs()[0])
"""


def test_the_local_cluster_takes_what_nobody_created_from_the_environment_and_another_does_not(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    script = tmp_path / "takes.py"
    script.write_text(TAKES)

    def program(**environ: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **environ}
        return subprocess.run(
            [sys.executable, script], env=environ, capture_output=True, text=True, timeout=120
        )

    def digests(*values: str) -> str:
        return " ".join(hashlib.sha256(value.encode()).hexdigest() for value in values)

    one, two = (f"hush-{uuid.uuid4().hex}" for _ in range(2))
    shared = {**cluster.environment(), "FLYTERAY_HOME": str(tmp_path / "elsewhere")}
    refused = program(**shared, TAKEN_TOKEN=one, TAKEN_DEEP=two)
    assert "SecretNotFoundError: There is no secret 'taken-token'" in refused.stderr
    assert "or set" not in refused.stderr
    missing = program()
    assert "`flyteray create secret taken-token`, or set TAKEN_TOKEN in the environment." in missing.stderr

    first = program(TAKEN_TOKEN=one, TAKEN_DEEP=two)
    assert first.stdout.strip() == digests(one, two), first.stderr
    assert first.stderr.count("takes TAKEN_TOKEN of this environment") == 1
    assert first.stderr.count("takes TAKEN_DEEP of this environment") == 1
    assert "hush" not in first.stderr
    again = program()
    assert again.stdout == first.stdout, again.stderr
    assert "of this environment" not in again.stderr
    assert Secret.get("taken-token").taken
    values = [*in_any_form(one), *in_any_form(two)]
    settings = Settings.load()
    for name, content in in_files(settings.home, cluster.temp_dir):
        assert not any(value in content for value in values), name

    Secret.create("taken-token", "made")
    # A process that has just been given the value before it may take the next task too.
    eventually(lambda: program(TAKEN_TOKEN="hush-3").stdout.strip() == digests("made", two))
    for name in ("taken-token", "taken/deep"):
        Secret.delete(name)
