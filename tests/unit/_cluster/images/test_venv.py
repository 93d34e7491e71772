from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from flyteray import Image
from flyteray._cluster.images import venv
from flyteray._cluster.images.requirements import Installed
from flyteray._cluster.workers.launch import Start, command
from flyteray._plan.images.image import image_spec
from flyteray._plan.spec import ImageSpec, InstallSpec
from flyteray.errors import ImageBuildError


def asked(*packages: str, args: str = "", name: str = "mine") -> ImageSpec:
    spec = image_spec(Image.from_debian_base(name=name).with_pip_packages(*packages, extra_args=args or None))
    assert spec is not None
    return spec


def test_what_is_there_already_needs_no_build(tmp_path: Path) -> None:
    image = asked("httpx>=0.20", f"ray[serve]=={version('ray')}", 'nothing-like-it; python_version < "3"')

    assert venv.python_for(image, tmp_path / "images") == Path(sys.executable)
    assert not (tmp_path / "images").exists()


def test_a_container_is_none_of_this_machine(tmp_path: Path) -> None:
    with pytest.raises(ImageBuildError, match="podman"):
        venv.python_for(ImageSpec(name="x", container="x:1"), tmp_path)


def test_a_worker_looks_where_its_node_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = asked("flytesample==1.0")
    for name in ("FLYTERAY_HOME", "FLYTERAY_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # what gettempdir() has found before
    python = venv.images_folder() / image.key / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(shutil.which("echo") or "")

    done = subprocess.run(
        ["bash", "-c", f"exec {command(Start(image.key, venv.encoded(image)))} found"], capture_output=True
    )

    assert done.stdout == b"found\n"


@pytest.mark.parametrize(
    ("packages", "constraints", "options", "met"),
    [
        (("sample",), (), (), True),
        (("Sample>=1",), (), (), True),
        (("sample>=2",), (), (), False),
        (("other",), (), (), False),
        (("sample[more]",), (), (), False),
        (("needs",), (), (), True),
        (("needs[old]",), (), (), False),
        (("sample",), ("sample<1",), (), False),
        (("sample",), ("other==3", "sample<2"), (), True),
        (("sample",), (), ("--upgrade",), False),
        (("--pre", "sample"), (), (), False),
        (("--index-url x", "sample==1.0 --hash=sha256:0"), (), (), True),
        (("./sample.whl",), (), (), False),
        (("sample @ https://x/y",), (), (), False),
    ],
)
def test_what_is_installed_meets_what_pip_would_leave_alone(
    packages: tuple[str, ...],
    constraints: tuple[str, ...],
    options: tuple[str, ...],
    met: bool,
    tmp_path: Path,
) -> None:
    def install(name: str, number: str, *requires: str) -> None:
        info = tmp_path / f"{name}-{number}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{needs}")

    install("Sample", "1.0", "gone; extra == 'more'")
    install("needs", "1.0", "sample", "needs[fine]", "sample>1; extra == 'old'")

    installed = Installed([str(tmp_path)])

    assert (
        installed.meets([InstallSpec(requirements=packages, constraints=constraints, options=options)]) is met
    )
    assert installed.names() == {"sample", "needs"}
