"""The user's code as a content-addressed zip: what is in it, and how it becomes importable elsewhere."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import os
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import flyteray
from flyteray.errors import CodeBundleError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's own zero: times would make equal code hash differently


@dataclass(frozen=True)
class Bundle:
    """Source files and their hash; equal sources give equal bytes."""

    digest: str
    data: bytes = field(repr=False)


def build(module: str) -> Bundle:
    """Bundle a module with every module of the user that it imports, directly or not.

    Imports are read from the source, so the result does not depend on what else the process has loaded;
    modules of the standard library, of installed packages and of flyteray stay out.

    Raises:
        CodeBundleError: ``module`` has no source file, or a file can't be read.
    """
    files = {_archive_name(name, path): _read(path) for name, path in _closure(module).items()}
    if not files:
        raise CodeBundleError(
            f"Module {module!r} has no source file of yours to ship: put the code in a .py file."
        )
    return _zip(files)


def activate(digest: str, fetch: Callable[[], bytes], cache: Path) -> Path:
    """Make a bundle importable in this process; unpacked once per ``cache``. Returns its folder.

    Args:
        digest: Which bundle.
        fetch: Gives its bytes; only called when ``cache`` lacks it.
        cache: A folder of this node, shared by its processes.
    """
    folder = cache / digest
    if not folder.is_dir():
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            target = Path(fresh, "code")
            with zipfile.ZipFile(io.BytesIO(fetch())) as archive:
                archive.extractall(target)
            try:
                os.rename(target, folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was faster, with the same content
                    raise
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder


def cache_folder() -> Path:
    """Where this node unpacks bundles: inside the cluster's own folder where it has one."""
    return Path(os.environ.get("FLYTERAY_CACHE", tempfile.gettempdir()), f"flyteray-bundles-{os.getuid()}")


def _closure(entry: str) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    seen: set[str] = set()
    queue = [entry]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        queue.extend(_parents(name))
        path = _user_file(name)
        if path is not None:
            found[name] = path
            queue.extend(_imports(name, path))
    return found


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imports(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(_read(path), filename=str(path))
    except SyntaxError as error:
        raise CodeBundleError(f"{path} is not valid Python: {error.msg} (line {error.lineno}).") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*anchor, *([base] if base else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _user_file(name: str) -> Path | None:
    module = sys.modules.get(name)
    origin = getattr(module, "__file__", None)
    if module is None:
        if name.partition(".")[0] in sys.stdlib_module_names:
            return None
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None  # `from module import name`: a name, not a module; or an optional import
        origin = spec.origin if spec else None
    if not origin or not origin.endswith(".py"):
        return None
    path = Path(origin).resolve()
    return None if _is_installed(path) else path


def _is_installed(path: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    installed = [
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        str(Path(flyteray.__file__).parent),
    ]
    return any(path.is_relative_to(Path(folder).resolve()) for folder in installed)


def _archive_name(name: str, path: Path) -> str:
    return name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CodeBundleError(f"{path} can't be read: {error.strerror}.") from error


def _zip(files: Mapping[str, bytes]) -> Bundle:
    digest = hashlib.sha256()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return Bundle(digest.hexdigest()[:16], buffer.getvalue())
