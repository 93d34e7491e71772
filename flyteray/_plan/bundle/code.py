"""A task or app is loaded from a file by name, and shipped as a reference with its code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from flyteray._declare.environment import Environment
from flyteray._declare.loading import loads
from flyteray._declare.near import did_you_mean
from flyteray._declare.tasks.task import Task
from flyteray._plan.bundle import alias, bundle, imports, module_names, pickles, references
from flyteray._plan.bundle.bundle import Bundle
from flyteray._plan.bundle.extra_files import image_files, included
from flyteray._plan.bundle.ignore_files import files_below
from flyteray._plan.bundle.layout import Layout
from flyteray._plan.bundle.shipping import SHIPPING, Shipping
from flyteray._plan.dependencies import declared_in, with_dependencies
from flyteray._plan.images.image import shipped_images
from flyteray._plan.spec import CodeRef
from flyteray.app.environment import AppEnvironment
from flyteray.errors import CodeBundleError, ModuleLoadError
from flyteray.storage.pickler import alias_main

T = TypeVar("T", Task[..., Any], AppEnvironment, Environment)


def load_file(path: str | Path, root_dir: str | Path | None = None) -> ModuleType:
    """Import a Python file as the module that it is; see :func:`module_names.naming`.

    Modules are imported from ``root_dir`` as well. ModuleLoadError where there is no such file, it is no Python file,
    importing it failed (the user's exception is the cause), or it would start something on a cluster.
    """
    file = Path(path)
    given = repr(str(path))
    if file.is_dir():
        files = sorted(map(str, file.glob("*.py")))
        there = f", such as {files[0]}" if files else ", which has none"
        raise ModuleLoadError(f"{given} is a folder: give a Python file in it{there}.")
    if not file.is_file():
        raise ModuleLoadError(f"There is no file {given}: check the path (working directory: {Path.cwd()}).")
    if file.suffix != ".py":
        raise ModuleLoadError(f"{given} is not a Python file: give one that ends in .py.")
    file = file.resolve()
    name, root, importable = module_names.naming(file)
    if module_names.is_loaded_elsewhere(name, file):
        raise ModuleLoadError(
            f"{given} would be imported as {name!r}, but a module of that name is loaded already "
            f"({getattr(sys.modules[name], '__file__', 'built in')}): rename the file."
        )
    hides_others = not importable and "." not in file.stem
    for folder in (Path(root_dir).absolute() if root_dir else root, root):
        if str(folder) not in sys.path:
            sys.path.insert(len(sys.path) if hides_others else 0, str(folder))
    try:
        with loads().loading():
            return importlib.import_module(name) if importable else module_names.load_by_path(name, file)
    except ModuleLoadError:  # it says by itself where what stands
        raise
    except (Exception, SystemExit) as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name == "flyte":
            hint = ". It is written for Flyte: say --as-flyte, or start it by python -m flyteray.as_flyte."
        raise references.not_imported(given, error, hint) from error


def lookup(module: ModuleType, name: str, kind: type[T]) -> T:
    """The task or app environment called ``name`` in a module.

    ModuleLoadError where there is no such name, or it is something else; the message lists what there is.
    """
    found = getattr(module, name, None)
    if isinstance(found, kind):
        return found
    there = sorted(key for key, value in vars(module).items() if isinstance(value, kind))
    what = {Task: "a task", AppEnvironment: "an app environment"}.get(kind, "an environment")
    hint = f"it has: {', '.join(there)}" if there else f"it has no {what.partition(' ')[2]} at all"
    wrong = f"is a {type(found).__name__}, not {what}" if found is not None else "does not exist"
    called = [key for key in there if getattr(module, key).name == name]
    meant = f" That is the name of what is here called {called[0]!r}." if called else ""
    meant = meant or did_you_mean(name, there)
    raise ModuleLoadError(f"{name!r} in {module.__name__!r} {wrong}; {hint}.{meant}")


def ship(declared: Task[..., Any] | AppEnvironment, shipping: Shipping = SHIPPING) -> tuple[CodeRef, Bundle]:
    """Where a task or app environment is found on another machine, and the code to find it in.

    What came to this process in a bundle (it runs on a cluster) is found in the same one, whatever ``shipping`` says.

    Raises:
        CodeBundleError: it has no importable name and may not or can't be pickled, a file is missing or outside the
            root, or all of it is too large.
        ValueError: what is pickled by value has files to ``include``.
    """
    alias_main()
    version = (shipping.version or "") if shipping.copy_style == "none" else ""
    if isinstance(declared, Task):
        declared = declared.declared()
    home = None if shipping.interactive else references.home(declared)
    module, name = home or ("", declared.name)
    arrived = _arrived(declared, home)
    if arrived is not None:
        return CodeRef(bundle=arrived, module=module, name=name), Bundle(arrived)
    environments = _environments(declared)
    made = _by_name(home[0], shipping, environments) if home else _by_value(declared, shipping, environments)
    if shipping.copy_bundle_to is not None and made.digest:
        shipping.copy_bundle_to.mkdir(parents=True, exist_ok=True)
        (shipping.copy_bundle_to / f"{made.digest}.zip").write_bytes(made.data)
    return CodeRef(bundle=made.digest, module=module, name=name, version=version), made


def reached(declared: Task[..., Any] | AppEnvironment) -> list[Environment]:
    """The environments whose tasks and apps the code of a task or app may call, its own among them.

    These are those that it depends on, and those that are names of its modules.
    """
    if isinstance(declared, Task):
        declared = declared.declared()
    home = references.home(declared)
    modules = imports.closure([home[0]]) if home else ["__main__"]
    return list(dict.fromkeys([*_environments(declared), *declared_in(modules)]))


def _environments(declared: Task[..., Any] | AppEnvironment) -> list[Environment]:
    env = declared.parent_env() if isinstance(declared, Task) else declared
    return with_dependencies(env) if env else []


def _by_name(module: str, shipping: Shipping, environments: Sequence[Environment]) -> Bundle:
    if shipping.copy_style == "none":
        modules: Mapping[str, Path] = {}
        root = shipping.root_dir
    else:
        modules = imports.closure([module])
        if module not in modules:
            raise CodeBundleError(
                f"Module {module!r} has no source file of yours to ship: put the code in a .py file. Where the "
                'cluster has the module already, say copy_style="none".'
            )
        root = shipping.root_dir
        if root is None and shipping.copy_style == "all":
            root = imports.root_of(module, modules[module])
    if root is not None:
        root = root.resolve()
        if module in modules and not modules[module].is_relative_to(root):
            raise CodeBundleError(
                f"{modules[module]} is outside the root_dir {root}: give one that contains it."
            )
    return _packed(modules, {}, shipping, environments, root)


def _by_value(
    declared: Task[..., Any] | AppEnvironment, shipping: Shipping, environments: Sequence[Environment]
) -> Bundle:
    if shipping.interactive is False or shipping.copy_style == "none":
        raise CodeBundleError(
            f"{declared.name!r} can't be shipped by name: it is not a global of any module that a cluster can import. "
            "Define it at the top level of a file"
            + ("." if shipping.copy_style == "none" else ", or let it be pickled: interactive_mode=None.")
        )
    asking = [env for env in environments if env.include]
    if asking:
        raise ValueError(
            f"{type(asking[0]).__name__} {asking[0].name!r} includes {asking[0].include!r}, but {declared.name!r} is "
            "no global of any module that a cluster can import, so it is pickled, without files: define it at the top "
            "level of a .py file, or leave include out."
        )
    data, names = pickles.dump(declared)
    root = shipping.root_dir
    if root is None and shipping.copy_style == "all":
        root = Path.cwd()
    modules = imports.closure(sorted(names))
    return _packed(modules, {pickles.FILE: data}, shipping, environments, root.resolve() if root else None)


def _packed(
    modules: Mapping[str, Path],
    further: Mapping[str, bytes],
    shipping: Shipping,
    environments: Sequence[Environment],
    root: Path | None,
) -> Bundle:
    layout = Layout(modules, root)
    layout.contents.update({**shipped_images(environments, modules), **further})
    if shipping.copy_style == "all" and root is not None:
        for file in files_below(root):
            layout.add_below_root(file)
    for file, asked_by in included(environments):
        layout.add_beside(file, asked_by)
    for path, place in image_files(environments):
        layout.add(path, place)
    if alias.installed():
        # Workers are told apart by their bundle: of code that is not in it, by the version.
        layout.contents[bundle.AS_FLYTE] = b"" if layout.contents else (shipping.version or "").encode()
    return bundle.pack(layout.contents, layout.paths)


def _arrived(declared: Task[..., Any] | AppEnvironment, home: tuple[str, str] | None) -> str | None:
    """The bundle that this process has it from; None: it is in none."""
    for digest, folder in bundle.active().items():
        if home is None:
            held = pickles.load(folder) if (folder / pickles.FILE).exists() else {}
            is_there = held.get(declared.name) is declared
        else:
            file = getattr(sys.modules.get(home[0]), "__file__", None)
            is_there = bool(file) and Path(str(file)).is_relative_to(folder)
        if is_there:
            return digest
    return None
