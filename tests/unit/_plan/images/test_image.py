from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from flyteray import Image, Secret, TaskEnvironment
from flyteray._plan.images.image import REFERENCES, image_spec, named
from flyteray._plan.resources import environment_spec
from flyteray._plan.spec import ImageSpec, InstallSpec, SecretSpec
from flyteray.app import AppEnvironment
from flyteray.errors import ImageBuildError, InvalidImageNameError

UV_LOCK = """
[[package]]
name = "six"
version = "1.15.0"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "mine"
version = "0.1.0"
source = { virtual = "." }

[[package]]
name = "forked"
version = "1.0"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "forked"
version = "2.0"
source = { registry = "https://pypi.org/simple" }
"""


def base() -> Image:
    return Image.from_debian_base(name="mine")


def installs(image: Image) -> tuple[InstallSpec, ...]:
    spec = image_spec(image)
    assert spec is not None
    return spec.installs


@pytest.mark.parametrize("image", [None, "", "auto", Image.from_debian_base()])
def test_what_adds_nothing_has_no_plan(image: Any) -> None:
    assert image_spec(image) is None


def test_packages_and_options_become_what_pip_is_told() -> None:
    image = base().with_pip_packages(
        "six==1.15.0",
        index_url="https://a/simple",
        extra_index_urls="https://b/simple",
        pre=True,
        extra_args="--no-deps --find-links 'my wheels'",
    )

    (install,) = installs(image)

    assert install.requirements == (
        "--index-url https://a/simple",
        "--extra-index-url https://b/simple",
        "--pre",
        "six==1.15.0",
    )
    assert install.options == ("--no-deps", "--find-links", "my wheels")


def test_neighbours_with_equal_options_are_installed_together() -> None:
    image = base().with_pip_packages("six").with_pip_packages("tomli", "six").with_pip_packages("x", pre=True)

    assert [install.requirements for install in installs(image)] == [("six", "tomli"), ("--pre", "x")]


def test_equal_content_has_one_key_under_any_name() -> None:
    one = image_spec(Image.from_debian_base(name="a").with_pip_packages("six"))
    two = image_spec(Image.from_debian_base(name="b").with_pip_packages("six"))

    assert one is not None
    assert two is not None
    assert one.key == two.key
    assert one.key != ImageSpec(name="a", installs=(InstallSpec(requirements=("tomli",)),)).key


def test_environment_variables_of_the_environment_win() -> None:
    env = TaskEnvironment(
        "e", image=base().with_env_vars({"A": "image", "B": "image"}), env_vars={"B": "env"}
    )

    @env.task
    def work() -> None: ...

    assert environment_spec(work, 1.0).env_vars == {"A": "image", "B": "env"}


def test_a_requirements_file_brings_those_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("tomli  # for configuration\n./here.whl\n")
    (tmp_path / "limits.txt").write_text("six<2\n")
    file = tmp_path / "requirements.txt"
    file.write_text(
        "# what we need\n-r more/base.txt\n--constraint limits.txt\n-f wheels\n--find-links=https://x/y\n"
        "six==1.15.0 \\\n  --hash=sha256:00\nurl @ https://x/y#egg=z\n"
    )

    (install,) = installs(base().with_requirements(file))

    assert install.requirements == (
        "tomli",
        str(tmp_path / "more" / "here.whl"),
        f"--find-links {tmp_path / 'wheels'}",
        "--find-links=https://x/y",
        "six==1.15.0    --hash=sha256:00",
        "url @ https://x/y#egg=z",
    )
    assert install.constraints == ("six<2",)


def test_a_script_says_what_it_needs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        '# /// script\n# requires-python = ">=3.10"\n# dependencies = ["six<2", "mine; python_version > \'3\'"]\n'
        '# [tool.uv.sources]\n# mine = { git = "https://x/mine", tag = "v1" }\n'
        '# [[tool.uv.index]]\n# url = "https://i/simple"\n# ///\nimport six\n'
    )

    (install,) = installs(Image.from_uv_script(script, name="s"))

    assert install.requirements == (
        "--extra-index-url https://i/simple",
        "six<2",
        "mine @ git+https://x/mine@v1 ; python_version > '3'",
    )


def test_a_script_without_a_head_needs_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import six\n")

    assert image_spec(Image.from_uv_script(script, name="s")) is None


def test_a_project_is_held_to_its_lock(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\ndependencies = ["six>=1", "forked"]\n'
    )
    (tmp_path / "uv.lock").write_text(UV_LOCK)

    (install,) = installs(base().with_uv_project(tmp_path / "pyproject.toml"))

    assert install.requirements == ("six>=1", "forked")
    assert install.constraints == ("six==1.15.0",)


def test_a_project_of_poetry_is_held_to_its_lock(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry.dependencies]\npython = "^3.11"\nsix = "^1.15"\nhttpx = { version = "*", extras = ["http2"] }\n'
        'local = { path = "local" }\nrare = { version = "1", optional = true }\nold = { version = "1", markers = '
        "\"python_version < '3'\" }\n"
    )
    (tmp_path / "poetry.lock").write_text('[[package]]\nname = "six"\nversion = "1.15.0"\n')

    (install,) = installs(base().with_poetry_project(tmp_path / "pyproject.toml"))

    assert install.requirements == (
        "six",
        "httpx[http2]",
        f"local @ {(tmp_path / 'local').as_uri()}",
        "old; python_version < '3'",
    )
    assert install.constraints == ("six==1.15.0",)


def test_secrets_travel_by_name_and_are_written_as_pip_reads_them() -> None:
    image = base().with_pip_packages("git+https://$PAT@host/x", secret_mounts=[Secret("pat")])
    spec = image_spec(image)

    assert spec is not None
    assert spec.installs[0].requirements == ("git+https://${PAT}@host/x",)
    assert spec.secrets == (SecretSpec(key="pat", env_var="PAT"),)


def test_a_container_that_all_nodes_run_in_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_CONTAINER", "python:3.12")

    assert image_spec("python:3.12") is None
    assert image_spec(Image.from_base("python:3.12")) is None
    assert image_spec("python:3.13") == ImageSpec(name="python:3.13", container="python:3.13")


def test_a_container_is_its_uri() -> None:
    assert image_spec("python:3.12") == ImageSpec(name="python:3.12", container="python:3.12")
    spec = image_spec(Image.from_base("python:3.12").clone(name="mine"))
    assert spec is not None
    assert spec.container == "python:3.12"


def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.from_ref_name("gpu")
    monkeypatch.delenv(REFERENCES, raising=False)
    with pytest.raises(
        InvalidImageNameError, match=r"No image is called 'gpu'; known are: none.*init\(images"
    ):
        image_spec(image)

    monkeypatch.setenv(REFERENCES, "cpu=a:1,gpu=b:2")

    spec = image_spec(image)
    assert spec is not None
    assert spec.container == "b:2"
    assert environment_spec(TaskEnvironment("e"), 1.0).env_vars == {REFERENCES: "cpu=a:1,gpu=b:2"}


def test_names_of_images_are_pairs() -> None:
    assert named(["gpu=b:2", "a:1"]) == {"gpu": "b:2", "default": "a:1"}
    with pytest.raises(ValueError, match="write name=uri"):
        named(["gpu="])


def _script(folder: Path, head: str) -> Image:
    script = folder / "script.py"
    script.write_text("# /// script\n" + "".join(f"# {line}\n" for line in head.splitlines()) + "# ///\n")
    return Image.from_uv_script(script, name="s")


def _requirements(folder: Path, text: str) -> Image:
    (folder / "r.txt").write_text(text)
    return base().with_requirements(folder / "r.txt")


def _project(folder: Path, text: str, **options: Any) -> Image:
    (folder / "pyproject.toml").write_text(text)
    return base().with_uv_project(folder / "pyproject.toml", **options)


def _dockerfile(folder: Path) -> Image:
    (folder / "Dockerfile").write_text("FROM x\n")
    return Image.from_dockerfile(folder / "Dockerfile", registry="r", name="n")


def _pixi(folder: Path) -> Image:
    (folder / "pixi.toml").write_text("[workspace]\n")
    return base().with_pixi_project(folder)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (_dockerfile, ImageBuildError, r"Image\.from_base"),
        (_pixi, ImageBuildError, "conda"),
        (lambda at: Image.from_base(""), ImageBuildError, "not set"),
        (
            lambda at: Image.from_base("x:1").clone(name="m", extendable=True).with_pip_packages("six"),
            ImageBuildError,
            "'x:1', which Ray can't",
        ),
        (lambda at: _script(at, "dependencies = ["), ValueError, r"script\.py is no TOML"),
        (lambda at: _script(at, 'requires-python = "new"'), ValueError, "no version range"),
        (
            lambda at: _script(at, 'dependencies = ["x"]\n[tool.uv.sources]\nx = { workspace = true }'),
            ImageBuildError,
            "x comes from a workspace",
        ),
        (
            lambda at: _script(at, 'dependencies = ["x"]\n[tool.uv.sources]\nx = [{ index = "i" }]'),
            ImageBuildError,
            "several sources",
        ),
        (lambda at: _requirements(at, "-e .\n"), ImageBuildError, "editable"),
        (lambda at: _requirements(at, "-r gone.txt\n"), FileNotFoundError, r"gone\.txt"),
        (lambda at: _requirements(at, "--index-url https://a:b@host/\n"), ValueError, "password"),
        (
            lambda at: _project(at, "", project_install_mode="install_project"),
            ImageBuildError,
            "dependencies_only",
        ),
        (
            lambda at: base().with_pip_packages(
                "x", secret_mounts=Secret("x", mount=Path("/etc/flyte/secrets"))
            ),
            ImageBuildError,
            "as_env_var",
        ),
    ],
)
def test_what_can_not_be_built_is_refused_with_what_to_do(
    make: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        image_spec(make(tmp_path))


def test_two_heads_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n")

    with pytest.raises(ValueError, match="more than one"):
        image_spec(Image.from_uv_script(script, name="s"))


def test_this_python_is_named_without_a_warning() -> None:
    assert Image.from_debian_base(python_version=sys.version_info[:2]).uri


HERE = ".".join(map(str, sys.version_info[:3]))
OTHER = (sys.version_info[0], sys.version_info[1] + 1)


def _other_python(folder: Path) -> list[Image]:
    with pytest.warns(UserWarning, match="An image asks for Python"):
        declared = Image.from_debian_base(python_version=OTHER).with_pip_packages("six")
    script = _script(folder, 'requires-python = "==3.99"\ndependencies = ["six"]')
    return [declared, script, _project(folder, '[project]\nrequires-python = ">=4"\ndependencies = ["six"]')]


def test_a_file_for_another_python_gets_the_clusters_and_a_warning_names_both(tmp_path: Path) -> None:
    declared, script, project = _other_python(tmp_path)

    for image, asked in ((script, "==3.99"), (project, ">=4")):
        with pytest.warns(UserWarning, match=re.escape(asked)) as warned:
            spec = image_spec(image)
        assert spec is not None
        assert spec.installs[0].requirements == ("six",)
        assert (spec.python, spec.program) == (None, False)
        assert [HERE in str(each.message) for each in warned] == [True]
    assert image_spec(declared) is not None  # whose warning was where it is declared


def test_another_python_can_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _other_python(tmp_path)
    monkeypatch.setenv("FLYTERAY_IMAGE_PYTHON", "strict")

    for image, asked in zip(images, (".".join(map(str, OTHER)), "==3.99", ">=4"), strict=True):
        with pytest.raises(
            ImageBuildError, match=f"Python {re.escape(asked)}, but this is {re.escape(HERE)}"
        ):
            image_spec(image)
        spec = image_spec(image, program=True)
        assert spec is not None
        assert spec.python_required


def test_a_program_asks_for_the_python_of_its_image(tmp_path: Path) -> None:
    declared, script, project = _other_python(tmp_path)

    pythons = [image_spec(each, program=True) for each in (declared, script, project)]

    assert [spec and spec.python for spec in pythons] == [f"=={OTHER[0]}.{OTHER[1]}.*", "==3.99", ">=4"]
    app = AppEnvironment("program", args=["six"], image=script)
    spec = environment_spec(app, 0.0).image
    assert spec == pythons[1]
    bare = Image.from_debian_base(python_version=sys.version_info[:2])
    assert image_spec(bare, program=True) is None
