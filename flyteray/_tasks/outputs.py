"""Outputs of runs are kept in the object store by a keeper and in storage, and read from either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OwnerDiedError, RaySystemError

from flyteray._actors.controller import controller
from flyteray._actors.keeper import keeper
from flyteray._actors.questions import ask
from flyteray._plan.values.outputs import output_key, select
from flyteray.errors import ModuleLoadError, OutputNotFoundError
from flyteray.storage import open_storage
from flyteray.storage.values import read_value


def load_outputs(run: str) -> tuple[Any, ...]:
    """Read all outputs of a successful run from the object store, or from storage when they are gone from there.

    Arrays in them are read-only and shared by all processes of the node: copy before changing them.

    Raises:
        OutputNotFoundError: neither has them, or a class in them can't be imported here.
    """
    held = ask(keeper().get_output(run))
    if held:
        try:
            return tuple(ray.get(held[0]))
        except (OwnerDiedError, ObjectLostError, RaySystemError):
            pass  # the keeper or the node is gone, or it does not unpickle: storage has it too, and says why
    return read_outputs(run, ask(controller().info(None)).storage)


def read_outputs(run: str, root: str) -> tuple[Any, ...]:
    """As :func:`load_outputs`, from the storage at ``root``: those of a run whose result was kept are nowhere else."""
    try:
        return tuple(read_value(open_storage(root), output_key(run)))
    except (FileNotFoundError, ModuleLoadError) as error:
        raise OutputNotFoundError(f"The outputs of run {run!r} can't be read here: {error}") from error


def load(run: str, getter: Sequence[int | str]) -> Any:
    """Read one output of a run: ``getter`` is a chain of indices and keys into the tuple of outputs."""
    return select(load_outputs(run), getter, run)
