"""A call tells a worker which attempt of which action to execute, with what code and what it inherits."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

from flyteray._plan.info import ErrorInfo
from flyteray._plan.spec import RunWide, TaskSpec
from flyteray._plan.values.pickling import Payload

SecretName = tuple[str, str | None, str | None, str | None]
"""The fields of a :class:`SecretSpec`: key, group, environment variable, mount."""


class Inheritance(NamedTuple):
    """Settings that an action has from its run or from its caller: see :class:`RunWide`."""

    env_vars: tuple[tuple[str, str], ...] = ()
    custom_context: tuple[tuple[str, str], ...] = ()
    raw_data_path: str | None = None

    @classmethod
    def of(cls, wide: RunWide) -> Inheritance:
        """The inheritance of a run's root action."""
        return cls(
            tuple(sorted(wide.env_vars.items())),
            tuple(sorted(wide.custom_context.items())),
            wide.raw_data_path,
        )


class Call(NamedTuple):
    """One attempt of one action. A tuple: it is packed for every call, so it must be small and quick.

    ``version`` is the one that the task was deployed as; ``unchecked`` where its caller knew the inputs' names only;
    ``owner`` is the :class:`Owner` of the run; ``from_above`` are the fields of an :class:`Inheritance`, or nothing.
    """

    run: str
    action: str
    parent: str | None
    attempt: int
    task: str
    bundle: str
    module: str
    name: str
    env_vars: tuple[tuple[str, str], ...]
    secrets: tuple[SecretName, ...]
    version: str | None = None
    unchecked: bool = False
    owner: tuple[str | None, str | None, str | None] = (None, None, None)
    from_above: tuple[Any, ...] = ()

    @property
    def inherited(self) -> Inheritance:
        return Inheritance(*self.from_above)

    def pack(self, arguments: Payload) -> tuple[Any, ...]:
        """The arguments for Ray: call and inputs as one bytes, and the inputs' buffers where there are some.

        Ray hands bytes on as they are; anything else it inspects and pickles itself, and each argument costs anew.
        """
        data = pickle.dumps((arguments.header, *self))
        return (data, Payload(b"", arguments.buffers)) if arguments.buffers else (data,)

    @classmethod
    def unpack(cls, data: bytes, buffers: Payload | None) -> tuple[Call, Payload]:
        """The call and its inputs from what :meth:`pack` gave."""
        header, *fields = pickle.loads(data)
        return cls(*fields), Payload(header, [] if buffers is None else buffers.buffers)

    @classmethod
    def of(
        cls,
        task: TaskSpec,
        *,
        run: str,
        action: str,
        parent: str | None,
        attempt: int,
        owner: tuple[str | None, str | None, str | None] = (None, None, None),
        inherited: Inheritance | None = None,
    ) -> Call:
        """The call of a task as one attempt of one action."""
        return cls(
            run=run,
            action=action,
            parent=parent,
            attempt=attempt,
            task=task.name,
            bundle=task.code.bundle,
            module=task.code.module,
            name=task.code.name,
            env_vars=tuple(sorted(task.environment.env_vars.items())),
            secrets=tuple(
                (secret.key, secret.group, secret.env_var, secret.mount)
                for secret in task.environment.secrets
            ),
            version=task.version,
            unchecked=task.version is not None and parent is None,
            owner=owner,
            from_above=tuple(inherited) if inherited and any(inherited) else (),
        )


class ActionFailed(Exception):
    """A failure of the user's code as it leaves a worker: a value that is printable everywhere."""

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(info)
        self.info = info
