"""The outputs of a run, as users hold them and as storage does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from flyteray._declare.near import did_you_mean
from flyteray._declare.tasks.interface import MISSING
from flyteray._declare.tasks.task import Task
from flyteray._handles import Awaited
from flyteray._plan.actions.names import ROOT
from flyteray.errors import OutputNotFoundError
from flyteray.storage import Storage, open_storage

T = TypeVar("T")

_SHOWN = 10  # keys


class ActionInputs(Awaited, dict[str, Any]):
    """The inputs of an action by name."""


class ActionOutputs(Awaited, tuple[Any, ...]):
    """A tuple of outputs whose members are also named: ``o0``, ``o1`` …"""

    __slots__ = ()

    @property
    def named_outputs(self) -> dict[str, Any]:
        """The outputs by name."""
        return {f"o{number}": value for number, value in enumerate(self)}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("o") and name[1:].isdecimal() and int(name[1:]) < len(self):
            return self[int(name[1:])]
        there = self.named_outputs
        raise AttributeError(f"There is no output {name!r}: this run has {', '.join(there) or 'none'}.")


def as_outputs(task: Task[..., Any], value: Any) -> tuple[Any, ...]:
    """A task's return value as the tuple of its outputs: ``tuple[A, B]`` has two, all else has one."""
    if len(task.interface.outputs) < 2:
        return (value,)
    return value if isinstance(value, tuple) else tuple(value)  # one with names keeps them


def as_value(outputs: tuple[Any, ...]) -> Any:
    """The return value of a task whose outputs these are."""
    return outputs[0] if len(outputs) == 1 else outputs


def exits_well(task: Task[..., Any], error: SystemExit) -> bool:
    """Whether a task that left by ``sys.exit`` has done its work: it says so, and owes no output."""
    return error.code in (None, 0) and task.interface.returns in (MISSING, None, type(None))


def output_key(run: str, action: str = ROOT) -> str:
    """Where in storage the outputs of an action are, by default those of the run."""
    return f"runs/{run}/{action}/outputs"


def run_folder(root: str, run: str) -> Storage:
    """The folder of a run in the storage at ``root``: below it are those of its actions."""
    return open_storage(open_storage(root).join("runs", run))


def select(outputs: tuple[Any, ...], getter: Sequence[int | str], run: str) -> Any:
    """Follow a chain of indices and keys into the outputs of a run."""
    value: Any = outputs
    for done, key in enumerate(getter):
        try:
            value = value[key]
        except (LookupError, TypeError) as error:
            chain = "outputs" + "".join(f"[{step!r}]" for step in getter[: done + 1])
            raise OutputNotFoundError(
                f"Run {run!r} has no {chain}: {type(value).__name__} gave {type(error).__name__}: {error}."
                f"{_there(value, key)}"
            ) from error
    return value


def _there(value: Any, key: int | str) -> str:
    """What could have been asked for instead."""
    if isinstance(value, Mapping):
        names = [each for each in value if isinstance(each, str)]
        shown = ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
        return f" Its keys: {shown or 'none'}.{did_you_mean(str(key), names)}"
    if isinstance(value, (list, tuple)):
        return f" It has {len(value)} of them, counted from 0."
    if isinstance(key, str) and hasattr(value, key):
        return (
            f" {key!r} is an attribute, and a getter takes items only: have the task return it, or take the whole by "
            'type="object".'
        )
    return ""
