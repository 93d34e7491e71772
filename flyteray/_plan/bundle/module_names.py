"""A file has a name as a module, here and on the cluster: its own where that can be imported."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from flyteray._plan.bundle import imports


class Naming(NamedTuple):
    """The name of a file's module, the folder that it is imported from, and whether an import finds it by its name."""

    name: str
    root: Path
    importable: bool


def naming(file: Path) -> Naming:
    """How a Python file is imported: ``pkg/train.py`` inside a package is ``pkg.train``.

    A file whose name no import would find, as of ``train.v2.py``, or would find something else for, as of ``json.py``,
    has a name made from its own: ``train_v2``, ``json_script``.
    """
    root = imports.import_root(file)
    packages = file.parent.relative_to(root).parts
    own = ".".join([*packages, file.stem])
    if "." not in file.stem and not _is_others(own, root):
        return Naming(own, root, importable=True)
    stem = re.sub(r"\W", "_", file.stem).strip("_") or "script"
    taken = {each.stem for each in file.parent.glob("*.py")}
    for made in (stem, *(f"{stem}_script{number}" for number in ("", *range(2, 100)))):
        name = ".".join([*packages, made])
        if made not in taken and not _is_others(name, root) and not is_loaded_elsewhere(name, file):
            return Naming(name, root, importable=False)
    return Naming(own, root, importable=True)  # and the import says what is in its way


def load_by_path(name: str, file: Path) -> ModuleType:
    """Import a file under a name that no import would find it by; once."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def is_loaded_elsewhere(name: str, file: Path) -> bool:
    """Whether a module of that name is loaded from another file."""
    loaded = sys.modules.get(name)
    return loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() != file


def _is_others(name: str, root: Path) -> bool:
    """Whether a name is that of a module of Python's own, of flyteray or of an installed package."""
    if "." in name:  # in a package of the user's
        return False
    if name in sys.stdlib_module_names or name in ("__main__", "flyteray", "flyte"):
        return True
    found = PathFinder.find_spec(name, [folder for folder in sys.path if Path(folder).resolve() != root])
    origin = found.origin if found else None
    return origin is not None and imports.is_installed(Path(origin).resolve())
