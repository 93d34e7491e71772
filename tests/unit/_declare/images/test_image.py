from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import flyteray
from flyteray import Image, Secret, TaskEnvironment
from flyteray._declare.images.layers import PipOptions, PipPackages
from flyteray.errors import ImageBuildError

OTHER_PYTHON = (3, 10) if sys.version_info[:2] != (3, 10) else (3, 11)


def base() -> Image:
    return Image.from_debian_base()


def test_an_image_is_made_by_a_constructor_only() -> None:
    with pytest.raises(TypeError, match="from_debian_base"):
        Image(name="x")


def test_the_uri_is_the_name_and_a_hash_of_the_content() -> None:
    image = Image.from_debian_base(name="mine", registry="ghcr.io/me").with_pip_packages("six")

    assert image.uri.startswith("ghcr.io/me/mine:")
    assert (
        image.uri == Image.from_debian_base(name="mine", registry="ghcr.io/me").with_pip_packages("six").uri
    )
    assert image.uri != image.with_pip_packages("tomli").uri
    assert Image.from_base("python:3.12").uri == "python:3.12"


def test_layers_leave_the_image_that_they_extend_alone() -> None:
    image = base()
    image.with_pip_packages("six")

    assert image.layers == ()
    assert image == base()
    assert hash(image) == hash(base())


def test_the_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(Image.from_base("python:3.12")) == "Image(base_image='python:3.12')"
    assert "layers=(PipPackages(" in repr(base().with_pip_packages("six"))


def test_the_uri_follows_the_content_of_files(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("six\n")
    image = base().with_requirements(file)
    before = image.uri
    file.write_text("tomli\n")

    assert image.uri != before


def test_only_the_head_of_a_script_counts(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    head = '# /// script\n# dependencies = ["six"]\n# ///\n'
    script.write_text(head + "print(1)\n")
    image = Image.from_uv_script(script, name="s")
    before = image.uri
    script.write_text(head + "print(2)\n")

    assert image.uri == before


@pytest.mark.parametrize("add", ["with_pip_packages", "with_apt_packages"])
def test_a_list_in_place_of_arguments_is_refused_with_a_hint(add: str) -> None:
    with pytest.raises(TypeError, match="'vim', 'git' instead of"):
        getattr(base(), add)(["vim", "git"])


def test_a_container_is_extended_after_it_was_cloned_for_that() -> None:
    image = Image.from_base("python:3.12")
    with pytest.raises(ValueError, match=r"clone\(name=..., extendable=True\)"):
        image.with_pip_packages("six")
    with pytest.raises(ValueError, match="without a name"):
        image.clone(extendable=True).with_pip_packages("six")

    extended = image.clone(name="mine", extendable=True).with_pip_packages("six")

    assert extended.uri.startswith("mine:")


def test_a_dockerfile_is_not_extended(tmp_path: Path) -> None:
    image = Image.from_dockerfile(tmp_path / "Dockerfile", registry="r", name="n")

    with pytest.raises(ValueError, match="Dockerfile"):
        image.with_pip_packages("six")


@pytest.mark.parametrize("uri", [None, ""])
def test_an_empty_base_is_refused(uri: Any) -> None:
    with pytest.raises(ImageBuildError, match="variable that is not set"):
        _ = Image.from_base(uri).uri


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda at: base().with_requirements(at / "reqs.toml"), ValueError, "must end in .txt"),
        (
            lambda at: base().with_pip_packages("six", url="x"),
            TypeError,
            r"\['url'\]. Options of pip are: index_url",
        ),
        (lambda at: Image.from_uv_script(at / "x.sh", name="x"), ValueError, "A uv script must end in .py"),
        (
            lambda at: Image.from_pixi_script(at / "x.sh", name="x"),
            ValueError,
            "A pixi script must end in .py",
        ),
        (lambda at: base().with_env_vars({"A": b"1"}), TypeError, "str to str"),  # type: ignore[dict-item]
        (lambda at: base().with_source_file([at / "a/x", at / "b/x"]), ValueError, "one name"),
        (lambda at: base().with_local_v2_plugins("redis"), ValueError, "flyteplugins-"),
        (lambda at: Image.from_debian_base(python_version=3.11), TypeError, "pair"),  # type: ignore[arg-type]
        (lambda at: base().with_pip_packages("x", secret_mounts=3), TypeError, "secret_mounts"),  # type: ignore[arg-type]
        (
            lambda at: base().with_pip_packages("x", index_url="https://me:pw@host/simple"),
            ValueError,
            "password",
        ),
        (
            lambda at: base().with_pip_packages("git+https://me:pw@host/x"),
            ValueError,
            "'host' holds a password",
        ),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(Path("/nowhere"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda at: base().with_requirements(at / "r.txt"), FileNotFoundError, r"r\.txt does not exist"),
        (lambda at: Image.from_uv_script(at / "x.py", name="x"), FileNotFoundError, r"x\.py does not exist"),
        (lambda at: base().with_uv_project(at / "uv.toml"), FileNotFoundError, r"uv\.toml does not exist"),
        (lambda at: base().with_uv_project(__file__, at / "uv.lock"), ValueError, "Lock file"),
        (lambda at: base().with_poetry_project(at / "p.toml"), FileNotFoundError, r"p\.toml does not exist"),
        (lambda at: base().with_poetry_project(__file__, at / "poetry.lock"), ValueError, "poetry lock"),
        (
            lambda at: base().with_pixi_project(at / "pixi.toml"),
            FileNotFoundError,
            r"pixi\.toml does not exist",
        ),
        (
            lambda at: base().with_source_file(at / "x"),
            ImageBuildError,
            "Source file /nowhere/x does not exist",
        ),
        (lambda at: base().with_source_file(Path(__file__).parent), ImageBuildError, "is not a file"),
        (lambda at: base().with_source_folder(Path(__file__)), ImageBuildError, "is not a folder"),
        (
            lambda at: Image.from_dockerfile(at / "D", "r", "n"),
            ImageBuildError,
            "Dockerfile /nowhere/D does not exist",
        ),
    ],
)
def test_files_that_are_wrong_are_found_by_validate(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Path("/nowhere")).validate()


def test_a_password_may_be_a_secret_by_name() -> None:
    image = base().with_pip_packages(
        "git+https://me:${TOKEN}@host/x", "git+ssh://git@host/y", secret_mounts=Secret("token")
    )

    assert image.layers == (
        PipPackages(
            PipOptions(secret_mounts=(Secret("token"),)),
            ("git+https://me:${TOKEN}@host/x", "git+ssh://git@host/y"),
        ),
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: base().with_apt_packages("curl", "git"), r"apt packages \(\[\"curl\", \"git\"\]\)"),
        (lambda: base().with_commands(["make"]), "build commands"),
        (lambda: base().with_workdir("/x"), "a working directory"),
        (lambda: base().with_dockerignore(".dockerignore"), "a .dockerignore"),
        (lambda: base().with_local_v2(), "a development build of Flyte"),
        (lambda: base().with_local_rs_controller(), "flyte_controller_base"),
        (lambda: base().with_local_v2_plugins(["flyteplugins-redis"]), "flyteplugins_redis"),
        (lambda: Image.from_debian_base(python_version=OTHER_PYTHON), "all processes of a Ray cluster"),
        (lambda: base().clone(python_version=OTHER_PYTHON), "An image asks for Python 3"),
    ],
)
def test_what_ray_can_not_do_warns_at_the_line_that_asks_for_it(make: Any, words: str) -> None:
    with pytest.warns(UserWarning, match=words) as warned:
        assert make().uri

    assert [warning.filename for warning in warned] == [__file__]


def test_an_environment_takes_an_image_a_uri_or_nothing() -> None:
    image = base().with_pip_packages("six")

    assert TaskEnvironment("a", image=image).clone_with("b").image is image
    assert TaskEnvironment("a", image="python:3.12").image == "python:3.12"
    assert TaskEnvironment("a", image=None).image is None
    assert TaskEnvironment("a", image="").image == ""
    assert flyteray.ImageBuild(uri="x").remote_run is None


def test_packages_may_be_given_as_one_tuple() -> None:
    assert base().with_pip_packages(("a", "b"), "c").layers == base().with_pip_packages("a", "b", "c").layers


def test_a_number_among_variables_counts_as_its_text() -> None:
    assert base().with_env_vars({"THREADS": 4, "RATE": 0.5, "ON": True, "X": "x"}).env_vars() == {
        "THREADS": "4",
        "RATE": "0.5",
        "ON": "True",
        "X": "x",
    }
