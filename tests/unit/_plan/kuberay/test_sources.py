"""The code of an app as it goes into a ConfigMap, and the command that serves it from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyteray._plan.bundle import code
from flyteray._plan.bundle.shipping import Shipping
from flyteray._plan.kuberay.sources import Sources, app_sources
from flyteray.app import AppEnvironment
from flyteray.errors import CodeBundleError

APP = """\
import flyteray as flyte
from flyteray.app import AppEnvironment
{imports}
env = AppEnvironment(name="a", args="serve"{fields})
"""


def sources(
    folder: Path, file: str = "app.py", imports: str = "", fields: str = "", **shipping: object
) -> Sources:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(APP.format(imports=imports, fields=fields))
    ships = Shipping(**shipping)  # type: ignore[arg-type]
    found = code.lookup(code.load_file(path, ships.root_dir), "env", AppEnvironment)
    return app_sources(path, "env", found, ships)


def test_a_file_and_what_it_imports(project: Path) -> None:
    (project / "helper.py").write_text("WORDS = 1\n")
    made = sources(project, imports="import helper")

    assert set(made.contents) == {"app.py", "helper.py"}
    assert made.contents["helper.py"] == b"WORDS = 1\n"
    assert made.command == "flyteray serve app.py env"


def test_a_file_in_a_package_keeps_its_place(project: Path) -> None:
    (project / "team").mkdir()
    (project / "team" / "__init__.py").write_text("")
    made = sources(project, "team/app.py")

    assert set(made.contents) == {"team/__init__.py", "team/app.py"}
    assert made.command == "flyteray serve team/app.py env"


def test_modules_are_found_below_a_root_that_they_are_not_imported_from(project: Path) -> None:
    made = sources(project, "src/app.py", root_dir=project)

    assert made.command == "PYTHONPATH=src:. flyteray serve src/app.py env"


def test_the_module_that_declares_it_is_the_one_that_is_served(project: Path) -> None:
    sources(project)
    (project / "other.py").write_text("from app import env as renamed\n")
    found = code.lookup(code.load_file(project / "other.py"), "renamed", AppEnvironment)

    assert (
        app_sources(project / "other.py", "renamed", found, Shipping()).command == "flyteray serve app.py env"
    )


def test_included_files_and_those_that_images_are_made_of_come_along(project: Path) -> None:
    (project / "requirements.txt").write_text("left-pad\n")
    (project / "data").mkdir()
    (project / "data" / "logo.png").write_bytes(b"\x89PNG")
    made = sources(
        project,
        imports="from pathlib import Path",
        fields=", include=('data/logo.png',), image=flyte.Image.from_debian_base().with_requirements("
        "Path(__file__).parent / 'requirements.txt')",
    )

    assert set(made.contents) == {"app.py", "data/logo.png", "requirements.txt"}


def test_a_file_of_an_image_that_is_elsewhere_is_refused(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "requirements.txt"
    elsewhere.write_text("left-pad\n")

    with pytest.raises(CodeBundleError, match=r"is made of .*requirements.txt, which is outside"):
        sources(
            project, fields=f", image=flyte.Image.from_debian_base().with_requirements({str(elsewhere)!r})"
        )


def test_a_version_is_said_to_the_command(project: Path) -> None:
    assert sources(project, version="v2").command == "flyteray serve --version v2 app.py env"


def test_code_that_the_image_has_is_not_shipped(project: Path) -> None:
    made = sources(project, copy_style="none", version="v2")

    assert made.contents == {}
    assert made.command == f"flyteray serve --version v2 --copy-style none {project}/app.py env"


def test_more_than_a_config_map_holds_is_refused(project: Path) -> None:
    (project / "large.bin").write_bytes(bytes(1_000_001))

    with pytest.raises(CodeBundleError, match=r"is 1.0 MB in 2 files, and a ConfigMap holds 1 MB"):
        sources(project, fields=", include=('large.bin',)")


def test_an_app_of_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodeBundleError, match="'loose' is no global of a file"):
        app_sources(tmp_path / "a.py", "env", AppEnvironment(name="loose", args="serve"), Shipping())
