"""The floor plan: imports point down, and only the engine's packages know Ray."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import flyteray

ROOT = Path(flyteray.__file__).parent
FLOORS = [
    {"cli", "as_flyte"},
    {"app/extras"},  # ready-made apps use the verbs, as users' apps do
    {"remote", "report", "models", "notify", "artifacts", "durable", "types", "syncify", "extend"}
    | {"extras", "ai", "clustered", "connectors", "prefetch", "sandbox"},
    {"_client"},
    {"_control"},
    {"_ingress"},
    {"_serve"},
    {"_tasks"},
    {"_cluster"},
    {"_actors"},
    {"_notify"},
    {"_plan"},
    {"app"},
    {"io", "storage", "git"},
    {"config"},
    {"_declare", "_logging"},
    {"_report"},
    {"_machine"},
    {"errors", "_handles", "_place", "_private", "_public", "_settings", "_traces", "_version"},
]
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
KNOW_RAY = {"_control", "_serve", "_tasks", "_cluster"}
KNOW_RAY_TOO = {"_actors/calls.py"}
DOES_NOT = "_control/registry/"  # it outlives clusters

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path: Path) -> str:
    return part(path.relative_to(ROOT).with_suffix("").parts)


def part(names: Sequence[str]) -> str:
    """The part of the floor plan that a module below flyteray belongs to."""
    two = "/".join(names[:2])
    return two if two in FLOOR else names[0]


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """The modules that an import statement names, in full."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = [ROOT.name, *path.relative_to(ROOT).parent.parts]
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_to_run(path: Path) -> list[str]:
    """The modules that a file imports, at once or in a function; not those that only type checkers see."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    return [name for node in ast.walk(tree) if id(node) not in typing_only for name in imported(node, path)]


def module_name(path: Path) -> str:
    return ".".join([ROOT.name, *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    upward = []
    for node in ast.walk(ast.parse(path.read_text())):
        for name in imported(node, path):
            root, *names = name.split(".")
            if root == ROOT.name and names and FLOOR.get(part(names), -1) < FLOOR[part_of(path)]:
                upward.append(name)

    assert upward == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_engine_knows_ray(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if not name.startswith(DOES_NOT) and (part_of(path) in KNOW_RAY or name in KNOW_RAY_TOO):
        return

    assert [each for each in imported_to_run(path) if each.split(".")[0] == "ray"] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_deferred_import_gives_its_reason(path: Path) -> None:
    source = path.read_text()
    lines = source.splitlines()
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    deferred = {
        node.lineno
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }

    unexplained = [line for line in sorted(deferred) if "#" not in lines[line - 1] + lines[line - 2]]
    # One comment serves a block of imports that follow each other.
    assert [line for line in unexplained if line - 1 not in deferred] == []


def test_no_module_imports_itself_through_others() -> None:
    modules = {module_name(path): path for path in FILES}
    imports = {
        module: {
            found
            for name in imported_to_run(path)
            for found in [name if name in modules else name.rpartition(".")[0]]
            if found in modules
        }
        for module, path in modules.items()
    }

    try:
        cycle = []
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        cycle = error.args[1]

    assert cycle == []
