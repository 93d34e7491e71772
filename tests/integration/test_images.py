from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

import flyteray
from flyteray import _private
from flyteray._cluster.local import LocalCluster
from flyteray._machine.file_lock import alone
from flyteray._plan.bundle import code
from flyteray._plan.images.image import image_spec
from flyteray._plan.info import ActionPhase, AppPhase
from flyteray.errors import DeploymentError, ImageBuildError, SecretNotFoundError
from tests.acceptance.command import Shell
from tests.wheels import offline, wheel

# A package that the cluster has in another version, and that nothing of Ray needs.
OWN = importlib.metadata.version("iniconfig")

SOURCE = """
import sys
from importlib.metadata import version

import flyteray
from flyteray import Image, TaskEnvironment
from flyteray.app import AppEnvironment

OPTIONS = {{"extra_args": {options!r}}}
OLD = Image.from_debian_base(name="old").with_pip_packages("iniconfig==0.1", **OPTIONS).with_env_vars({{"A": "image"}})
BAD = Image.from_debian_base(name="bad").with_pip_packages("iniconfig==0.3", **OPTIONS)
THERE = Image.from_debian_base(name="there").with_pip_packages("iniconfig>=0.2", **OPTIONS)

plain = TaskEnvironment("plain")
old = TaskEnvironment("old", image=OLD)
there = TaskEnvironment("there", image=THERE)
FILE = Image.from_debian_base(name="file").with_requirements({requirements!r}, **OPTIONS)
from_file = TaskEnvironment("from-file", image=FILE)
bad = TaskEnvironment("bad", image=BAD)


def found() -> dict[str, str]:
    import os, iniconfig, ray

    where = getattr(iniconfig, "VERSION", "the cluster's")
    return {{"version": version("iniconfig"), "module": where, "ray": ray.__file__, "A": os.environ.get("A", "")}}


@plain.task
def of_plain() -> dict[str, str]:
    return found()


@there.task
def of_there() -> dict[str, str]:
    return found()


@from_file.task
def of_file() -> dict[str, str]:
    return found()


@bad.task(retries=3)
def of_bad() -> dict[str, str]:
    return found()


@old.task
async def of_old() -> list[dict[str, str]]:
    return [found(), await of_plain.aio(), await of_there.aio()]


@plain.task
async def top() -> tuple[list[dict[str, str]], str, dict[str, str]]:
    try:
        await of_bad.aio()
    except flyteray.errors.ImageBuildError as error:
        failed = str(error)
    return await of_old.aio(), failed, await of_file.aio()


def handler():
    from fastapi import FastAPI

    app = FastAPI()
    app.get("/found")(found)
    return app


from flyteray.app.extras import FastAPIAppEnvironment

app_old = FastAPIAppEnvironment("image-old", app=handler(), image=OLD)
app_plain = FastAPIAppEnvironment("image-plain", app=handler())
app_bad = app_old.clone_with("image-old", image=BAD)

# What Ray can't live with: for a program alone, and for all the others refused before anything starts.
BREAKS = Image.from_debian_base(name="breaks").with_pip_packages("pydantic==99.0", "iniconfig==0.1", **OPTIONS)
breaking = TaskEnvironment("breaking", image=BREAKS)
app_breaking = app_plain.clone_with("image-breaking", image=BREAKS)
program = AppEnvironment("image-program", args=["python", "-c", {program!r}], image=BREAKS)


@breaking.task
def of_breaking() -> None: ...


@plain.task
async def parent_of_breaking() -> str:
    try:
        await of_breaking.aio()
    except flyteray.errors.ImageBuildError as error:
        return str(error)
"""

PROGRAM = """
import http.server, importlib.metadata, iniconfig, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        told = iniconfig.VERSION, importlib.metadata.version("pydantic"), os.environ["VIRTUAL_ENV"] == sys.prefix
        self.wfile.write(repr(told).encode())

http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    folder = tmp_path_factory.mktemp("images")
    for version in ("0.1", "0.2"):
        wheel(folder / "wheels", "iniconfig", version)
    file = folder / "sample_images.py"
    requirements = folder / "requirements.txt"
    requirements.write_text("iniconfig==0.1\n")
    wheel(folder / "wheels", "pydantic", "99.0")
    asked = {"options": offline(folder / "wheels"), "requirements": str(requirements), "program": PROGRAM}
    file.write_text(SOURCE.format(**asked))
    return code.load_file(file)


@contextlib.contextmanager
def being_built(image: flyteray.Image) -> Iterator[None]:
    """As if another process of the node were at it."""
    spec = image_spec(image)
    assert spec is not None
    folder = _private.folder(Path(os.environ["FLYTERAY_HOME"], "images"))
    with alone(folder / f"{spec.key}.lock"):
        yield


def found_by(app: Any) -> dict[str, str]:
    answer: dict[str, str] = httpx.get(f"{app.endpoint}/found", timeout=60).raise_for_status().json()
    return answer


def test_processes_find_what_their_image_has_and_the_others_what_the_cluster_has(
    cluster: LocalCluster, sample: ModuleType
) -> None:
    with being_built(sample.OLD):
        flyteray.deploy(sample.app_old)
        waiting = flyteray.run(sample.of_old)
        other = flyteray.serve(sample.app_plain)  # is not kept from coming up
        info = flyteray.remote.App.get("image-old").info
        assert (info.phase, info.waiting) == (AppPhase.DEPLOYING, "waits for its image, which is being built")
        waiting.abort()
        waiting.wait()
        assert waiting.phase is ActionPhase.ABORTED
    run = flyteray.run(sample.top)
    (Path(sample.__file__ or "").parent / "requirements.txt").unlink()  # as on a machine that is not this one
    app = flyteray.serve(sample.app_old)
    (of_old, of_plain, of_there), failed, of_file = run.outputs()

    assert (of_old["version"], of_old["module"], of_old["A"]) == ("0.1", "0.1", "image")
    assert (of_file["version"], of_file["A"]) == ("0.1", "")
    assert of_plain == of_there == {**of_old, "version": OWN, "module": "the cluster's", "A": ""}
    assert "No matching distribution found for iniconfig==0.3" in failed
    assert found_by(app) == of_old
    assert found_by(other) == of_plain

    with pytest.raises(DeploymentError, match=r"for iniconfig==0\.3") as refused:
        flyteray.serve(sample.app_bad)

    assert isinstance(refused.value.__cause__, ImageBuildError)
    assert found_by(app) == of_old
    for name in ("image-old", "image-plain"):
        flyteray.remote.App.delete(name)


def test_images_are_built_ahead(cluster: LocalCluster, sample: ModuleType, tmp_path: Path) -> None:
    assert flyteray.build(sample.OLD) == flyteray.ImageBuild(uri=sample.OLD.uri)
    assert flyteray.build(sample.BAD, dry_run=True).uri == sample.BAD.uri
    assert flyteray.build(sample.BAD, wait=False).uri is None
    with pytest.raises(ImageBuildError, match=r"iniconfig==0\.3"):
        flyteray.build(sample.BAD)
    with pytest.raises(ImageBuildError, match="podman"):
        flyteray.build(flyteray.Image.from_base("python:3.12"))
    with pytest.raises(ImageBuildError, match=r"iniconfig==0\.3"):
        flyteray.run(sample.of_bad).outputs()

    wheels = Path(sample.__file__ or "").parent / "wheels"
    secret = flyteray.Image.from_debian_base(name="secret").with_pip_packages(
        "flytesecret @ file://$WHEELS/flytesecret-1.0-py3-none-any.whl", secret_mounts="WHEELS"
    )
    wheel(wheels, "flytesecret", "1.0")
    with pytest.raises(SecretNotFoundError, match="'WHEELS'"):
        flyteray.build(secret)
    flyteray.remote.Secret.create("WHEELS", str(wheels))
    assert flyteray.build(secret).uri == secret.uri

    built = flyteray.build_images(sample.old, sample.plain, sample.app_old)

    assert built.images == {"old": sample.OLD.uri, "plain": "auto", "image-old": sample.OLD.uri}
    assert flyteray.build_images(sample.bad, seed_cache=flyteray.ImageCache({"bad": "known"})).images == {
        "bad": "known"
    }
    shell = Shell(tmp_path, home=Path(os.environ["FLYTERAY_HOME"]))
    told = shell.flyteray("build", "-o", "json", sample.__file__ or "", "old")
    assert json.loads(told.stdout) == {"old": sample.OLD.uri}


def test_a_program_has_what_ray_can_not_live_with_and_all_others_are_refused_it(
    cluster: LocalCluster, sample: ModuleType
) -> None:
    app = flyteray.serve(sample.program)
    assert httpx.get(app.endpoint, timeout=60).text == "('0.1', '99.0', True)"
    flyteray.remote.App.delete("image-program")

    broken = r"pydantic 99\.0 breaks (ray|flyteray|fastapi) .*, which needs pydantic"
    with pytest.raises(ImageBuildError, match=broken):
        flyteray.run(sample.of_breaking).outputs()
    with pytest.raises(DeploymentError, match=broken):
        flyteray.serve(sample.app_breaking)
    assert re.search(broken, flyteray.run(sample.parent_of_breaking).outputs()[0])
    with pytest.raises(ImageBuildError, match=broken):
        flyteray.build(sample.BREAKS)
    assert flyteray.build_images(sample.program).images == {"image-program": sample.BREAKS.uri}
