"""The images of a node are really built: by pip, beside the cluster's packages, and found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from subprocess import PIPE

import pytest

from flyteray import Image
from flyteray._cluster.images import venv
from flyteray._cluster.images.unused import remove_unused
from flyteray._cluster.images.venv import find_uv, other_python
from flyteray._cluster.workers.launch import Start, command
from flyteray._plan.images.image import image_spec
from flyteray._plan.spec import ImageSpec, InstallSpec, SecretSpec
from flyteray.errors import ImageBuildError
from tests.wheels import offline, wheel


def asked(*packages: str, args: str = "", name: str = "mine") -> ImageSpec:
    spec = image_spec(Image.from_debian_base(name=name).with_pip_packages(*packages, extra_args=args or None))
    assert spec is not None
    return spec


def said(python: Path, program: str) -> str:
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for number in ("1.0", "2.0"):
        wheel(folder, "flytesample", number)
    wheel(folder, "flytebreaks", "1.0", "six==99")
    wheel(folder, "ray", "1.0")
    wheel(folder, "flyteraybreaks", "1.0")
    wheel(folder, "starlette", "99.0", code="raise ImportError('too new')")
    wheel(folder, "flytepicks", "1.0")
    wheel(folder, "flytepicks", "2.0", "pydantic==99.0")
    wheel(folder, "pydantic", "99.0", code="raise ImportError('too new')")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


def test_an_image_has_its_own_packages_and_behind_them_the_clusters(wheels: Path, images: Path) -> None:
    image = asked("flytesample==1.0", args=offline(wheels))

    python = venv.python_for(image, images)

    assert said(python, "import flytesample; print(flytesample.VERSION)") == "1.0"
    assert said(python, "import httpx; print(httpx.__file__)") == said(
        Path(sys.executable), "import httpx; print(httpx.__file__)"
    )


def test_an_image_is_its_owners_alone(wheels: Path, images: Path) -> None:
    built = venv.build(asked("flytesample==1.0", args=offline(wheels)), images, {})

    found = [path for path in built.rglob("*") if not path.is_symlink() and path.lstat().st_mode & 0o077]
    assert [path for path in found if path.name != "__pycache__"] == []


def test_an_image_is_built_once_whoever_asks(wheels: Path, images: Path) -> None:
    image = asked("flytesample==2.0", args=offline(wheels))
    pythons: list[Path] = []
    askers = [
        threading.Thread(target=lambda: pythons.append(venv.python_for(image, images))) for _ in range(4)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()

    again = venv.python_for(asked("flytesample==2.0", args=offline(wheels), name="other name"), images)

    assert len(pythons) == 4
    assert {*pythons, again} == {pythons[0]}


def test_a_forced_build_leaves_processes_what_they_have_until_nobody_needs_it(
    wheels: Path, tmp_path: Path
) -> None:
    def aged(path: Path, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(path, (then, then), follow_symlinks=False)

    image = asked("flytesample==2.0", args=offline(wheels))
    link = tmp_path / image.key
    old = venv.build(image, tmp_path, {})
    user = subprocess.Popen(
        [old / "bin" / "python", "-c", "print(1, flush=True); input()"], stdin=PIPE, stdout=PIPE
    )
    assert user.stdout is not None
    user.stdout.readline()
    new = venv.build(image, tmp_path, {}, force=True)
    assert new != old
    assert venv.build(image, tmp_path, {}) == new

    aged(link, 3600)
    remove_unused(tmp_path)
    assert old.exists()  # somebody uses it
    user.communicate(b"\n")
    aged(link, 0)
    remove_unused(tmp_path)
    assert old.exists()  # somebody may be about to
    aged(link, 3600)
    remove_unused(tmp_path)
    assert not old.exists()

    aged(new / "in-use", 40 * 24 * 3600)
    subprocess.run([new / "bin" / "python", "-c", ""], check=True)  # a new start counts
    remove_unused(tmp_path)
    assert new.exists()
    aged(new / "in-use", 40 * 24 * 3600)
    remove_unused(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_what_is_left_or_lost_of_a_build_is_built_anew(wheels: Path, tmp_path: Path) -> None:
    image = asked("flytesample==1.0", args=offline(wheels))
    left = tmp_path / f"{image.key}-00000000"  # by a builder that was killed
    left.mkdir()

    before = venv.python_for(image, tmp_path)

    assert not left.exists()
    (module,) = before.parent.parent.glob("lib/*/site-packages/flytesample-1.0.dist-info")
    module.rename(module.with_name("gone"))

    assert venv.python_for(image, tmp_path) != before


def test_options_that_leave_something_open_are_no_reason_to_build_again(wheels: Path, tmp_path: Path) -> None:
    image = asked("flytebreaks", args=f"--no-deps {offline(wheels)}")

    assert venv.python_for(image, tmp_path) == venv.python_for(image, tmp_path)


def test_scripts_of_the_cluster_find_the_images_packages(wheels: Path, images: Path) -> None:
    python = venv.python_for(asked("flytesample==1.0", args=offline(wheels)), images)

    first = (python.parent / "uvicorn").read_text().splitlines()[0]

    assert first == f"#!{python}"


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("flytesample==3.0", "No matching distribution found for flytesample==3.0"),
        ("flytebreaks", "No matching distribution found for six==99"),
        ("not a requirement", "Invalid requirement"),
        ("ray==1.0", f"asks for 'ray==1.0', but the cluster runs ray {version('ray')}"),
        (
            "pydantic==99.0",
            r"does not start with its packages: pydantic 99\.0 breaks ray .* needs pydantic<3",
        ),
        (
            "starlette==99.0",
            r"does not start with its packages: it brings starlette 99\.0 in place of the cluster's",
        ),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(
    package: str, words: str, wheels: Path, tmp_path: Path
) -> None:
    image = asked(package, args=offline(wheels))

    with pytest.raises(ImageBuildError, match=words):
        venv.python_for(image, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] in ([], [f"{image.key}.lock"])


def test_a_program_may_have_what_ray_can_not_live_with(wheels: Path, tmp_path: Path) -> None:
    image = asked("pydantic==99.0", args=offline(wheels)).model_copy(update={"program": True})

    python = venv.python_for(image, tmp_path)

    assert said(python, "from importlib.metadata import version as v; print(v('pydantic'))") == "99.0"


def test_pip_finds_versions_that_ray_can_live_with(wheels: Path, tmp_path: Path) -> None:
    python = venv.python_for(asked("flytepicks", args=offline(wheels)), tmp_path)

    assert said(python, "import flytepicks; print(flytepicks.VERSION)") == "1.0"


@pytest.mark.skipif(find_uv() is None, reason="uv finds Pythons, and is not here")
def test_a_program_gets_the_python_that_it_asks_for_where_uv_finds_one(
    wheels: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = ".".join(map(str, sys.version_info[:3]))
    base = asked("flytesample==1.0", args=offline(wheels)).model_copy(update={"program": True})
    wanted = other_python(f"!={here}")

    missing = base.model_copy(update={"python": "==3.99.*"})
    assert said(venv.python_for(missing, tmp_path), "import flytesample, fastapi; print(1)") == "1"
    assert "asks for Python ==3.99.*, and uv finds none on this node" in caplog.text
    with pytest.raises(
        ImageBuildError, match=r"Python ==3\.99\.\*, and uv finds none on this node, which runs 3"
    ):
        venv.python_for(missing.model_copy(update={"python_required": True}), tmp_path)
    if wanted is None:
        pytest.skip(f"There is no Python but {here} here.")
    other = base.model_copy(update={"python": f"!={here}"})
    python = venv.python_for(other, tmp_path)

    version = "import sys, flytesample; print('.'.join(map(str, sys.version_info[:3])))"
    assert said(python, version) == said(Path(wanted), version.replace(", flytesample", "")) != here
    assert venv.python_for(other, tmp_path) == python


def test_the_value_of_a_secret_is_not_in_the_error(tmp_path: Path) -> None:
    image = ImageSpec(
        name="x",
        installs=(InstallSpec(requirements=("nothing-${TOKEN}",), options=("--no-index",)),),
        secrets=(SecretSpec(key="token", env_var="TOKEN"),),
    )

    with pytest.raises(ImageBuildError, match=r"nothing-\*\*\*\*") as failed:
        venv.python_for(image, tmp_path, {"TOKEN": "s3cret"})

    assert "s3cret" not in str(failed.value)


def test_a_node_builds_what_it_lacks_and_prints_where(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = asked("flytesample==1.0", args=offline(wheels))
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    command = [sys.executable, "-m", "flyteray._cluster.images.venv", venv.encoded(image)]

    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert (tmp_path / "images" / image.key).resolve() == Path(printed)
    assert venv.images_folder() == tmp_path / "images"
    monkeypatch.delenv("FLYTERAY_HOME")
    monkeypatch.setenv("FLYTERAY_CACHE", "/cache")
    assert venv.images_folder().parent == Path("/cache")


def test_a_node_that_can_not_build_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    secret = asked("six==99").model_copy(update={"secrets": (SecretSpec(key="token", env_var="TOKEN"),)})
    for image, words in (
        (asked("six==99", args="--no-index"), "could not be built"),
        (secret, "not built on this node"),
    ):
        command = [sys.executable, "-m", "flyteray._cluster.images.venv", venv.encoded(image)]

        done = subprocess.run(command, capture_output=True, text=True, check=False)

        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr


def test_a_worker_is_started_with_what_its_node_has_or_builds(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = asked("flytesample==1.0", args=offline(wheels))
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "it's a home"))
    program = tmp_path / "worker.py"
    program.write_text(
        "import flytesample, json, os, sys; print(json.dumps([sys.prefix, os.environ['PATH'], sys.argv]))"
    )
    # As Ray does it: the command as it is, the worker's arguments quoted for the shell.
    words = ["bash", "-c", f"exec {command(Start(image.key, venv.encoded(image)))} {program} '--option=a b'"]

    for _ in range(2):  # built by the first
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        prefix, path, arguments = json.loads(done.stdout)

        assert Path(prefix) == (tmp_path / "it's a home" / "images" / image.key).resolve()
        assert path.startswith(f"{prefix}/bin:")
        assert arguments == [str(program), "--option=a b"]
