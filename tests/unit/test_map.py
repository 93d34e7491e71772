"""The map at the entrance of the package: what it names exists, its journeys are short, no folder is crowded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flyteray

HOUSE = Path(flyteray.__file__).parent
MAP = (HOUSE / "README.md").read_text()
MOST_MODULES = 14


def named(text: str) -> list[str]:
    """The files and folders that a text names, each once."""
    return list(dict.fromkeys(re.findall(r"`([\w/]+(?:\.py|/))`", text)))


def journey(title: str) -> list[str]:
    """The modules that a journey goes through."""
    part = MAP.partition(f"**{title}")[2].partition("\n**")[0].partition("\n## ")[0]
    return [name for name in named(part) if name.endswith(".py")]


@pytest.mark.parametrize("name", named(MAP))
def test_what_the_map_names_is_there(name: str) -> None:
    assert (HOUSE / name).exists() or (HOUSE.parent / name).exists()


def test_a_deploy_and_a_run_go_through_few_modules() -> None:
    assert 8 <= len(journey("An app, from")) <= 12
    assert 8 <= len(journey("A run, from")) <= 10


@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in HOUSE.rglob("__init__.py")),
    ids=lambda path: str(path.relative_to(HOUSE.parent)),
)
def test_no_room_is_crowded(folder: Path) -> None:
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]

    assert len(modules) <= MOST_MODULES


TESTS = Path(__file__).parent
ABOUT_THE_HOUSE = {
    "test_absent",
    "test_exports",
    "test_import_direction",
    "test_map",
    "test_public_names",
    "test_settings",
    "test_typing",
}


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_a_test_lies_where_the_module_lies_that_it_is_about(path: Path) -> None:
    room, about = HOUSE / path.parent.relative_to(TESTS), path.stem.removeprefix("test_")
    names = {each.stem.lstrip("_") for each in room.iterdir()} | {room.name.lstrip("_")}

    assert path.stem in ABOUT_THE_HOUSE or any(
        about == name or about.startswith(f"{name}_") for name in names
    )
