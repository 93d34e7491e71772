"""A call tells a worker which attempt of which action to execute, with what code and what it inherits."""

from __future__ import annotations

import functools
import pickle
from typing import Any, NamedTuple

from flyteray._plan.info import ActionPhase, ErrorInfo
from flyteray._plan.spec import CachedCall, CacheSpec, Caching, RunWide, TaskSpec
from flyteray._plan.values.pickling import Payload
from flyteray._traces.process import tracer
from flyteray._traces.spans import Attributes, Carried, Span, begin
from flyteray.io.artifacts import Metadata

SecretName = tuple[str, str | None, str | None, str | None]
"""The fields of a :class:`SecretSpec`: key, group, environment variable, mount."""


class Inheritance(NamedTuple):
    """Settings that an action has from its run or from its caller: see :class:`RunWide`.

    ``resumed`` tells that something above it has begun before, so that what it calls may be done already. ``started``
    is when the run was asked for, in seconds since the epoch; ``limit`` is that of the actions that run at one time, 0
    for none.
    """

    env_vars: tuple[tuple[str, str], ...] = ()
    custom_context: tuple[tuple[str, str], ...] = ()
    raw_data_path: str | None = None
    recovers: str | None = None
    again: tuple[str, ...] = ()
    resumed: bool = False
    limit: int = 0
    started: float | None = None
    caching: tuple[bool, ...] = ()

    @classmethod
    def of(cls, wide: RunWide) -> Inheritance:
        """The inheritance of a run's root action."""
        return cls(
            tuple(sorted(wide.env_vars.items())),
            tuple(sorted(wide.custom_context.items())),
            wide.raw_data_path,
            wide.recovers,
            wide.again,
            limit=wide.max_action_concurrency,
            started=wide.start_time.timestamp() if wide.start_time else None,
            caching=tuple(wide.caching) if any(wide.caching) else (),
        )

    @property
    def fields(self) -> tuple[Any, ...]:
        """Its fields as calls have them; nothing where they are all as nobody has set them."""
        return tuple(self) if any(self) else ()


class Call(NamedTuple):
    """One attempt of one action. A tuple: it is packed for every call, so it must be small and quick.

    ``version`` is the one that the task was deployed as; ``unchecked`` where its caller knew the inputs' names only;
    ``owner`` is the :class:`Owner` of the run; ``from_above`` are the fields of an :class:`Inheritance`, or nothing;
    ``group`` is the one that its caller has named around the call; ``limits`` are the fields of :class:`Limits`;
    ``cached`` are those of a :class:`CachedCall` where its result is kept, and for one that is unchecked ``cache`` are
    those of the :class:`CacheSpec`. ``called`` is when its caller called it, in seconds since the epoch; None for the
    root. One that ``publishes`` has artifacts among its outputs, and ``produces`` is what its caller says of them.
    ``links`` are its addresses by name. ``trace`` is what it has of its caller's trace.
    """

    action: str
    attempt: int
    # Those from here on an action's calls of one task have in common.
    run: str
    parent: str | None
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
    cache: tuple[Any, ...] = ()
    publishes: bool = False
    # And these are each one's own again.
    group: str | None = None
    limits: tuple[Any, ...] = ()
    cached: tuple[Any, ...] = ()
    called: float | None = None
    produces: tuple[tuple[str, Metadata], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    trace: Carried = ()

    @property
    def inherited(self) -> Inheritance:
        return Inheritance(*self.from_above)

    @property
    def cached_call(self) -> CachedCall | None:
        return CachedCall(*self.cached) if self.cached else None

    @property
    def is_serial(self) -> bool:
        cached = self.cached_call
        return cached is not None and cached.serialize

    @property
    def cache_spec(self) -> CacheSpec | None:
        return CacheSpec(**dict(zip(CacheSpec.model_fields, self.cache, strict=True))) if self.cache else None

    @property
    def caching(self) -> Caching:
        return Caching(*self.inherited.caching)

    def span(self, began: float | None = None) -> Span | None:
        """Begin the span of this attempt, since ``began`` (epoch seconds), or now; None where there are no traces."""
        if tracer() is None:
            return None
        told: Attributes = {
            "flyteray.run": self.run,
            "flyteray.action": self.action,
            "flyteray.task": self.task,
            "flyteray.attempt": self.attempt + 1,
            "flyteray.version": self.version,
        }
        return begin(self.task, "internal" if self.parent else "consumer", told, self.trace, began)

    def pack(self, arguments: Payload) -> tuple[Any, ...]:
        """The arguments for Ray: call and inputs as one bytes, and the inputs' buffers where there are some.

        Ray hands bytes on as they are; anything else it inspects and pickles itself, and each argument costs anew.
        """
        shared, own = self[_SHARED], (*self[: _SHARED.start], *self[_SHARED.stop :])
        data = pickle.dumps((arguments.header, _packed(shared), own))
        return (data, Payload(b"", arguments.buffers)) if arguments.buffers else (data,)

    @classmethod
    def unpack(cls, data: bytes, buffers: Payload | None) -> tuple[Call, Payload]:
        """The call and its inputs from what :meth:`pack` gave."""
        header, shared, own = pickle.loads(data)
        call = cls(*own[: _SHARED.start], *_unpacked(shared), *own[_SHARED.start :])
        return call, Payload(header, [] if buffers is None else buffers.buffers)

    @classmethod
    def of(cls, task: TaskSpec) -> Call:
        """What all calls of a task have in common: a call of it that nobody has made yet."""
        return cls(
            action="",
            attempt=0,
            run="",
            parent=None,
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
            cache=tuple(dict(task.cache).values()) if task.cache else (),
            publishes=task.produces_artifacts,
        )


_SHARED = slice(Call._fields.index("run"), Call._fields.index("group"))


@functools.lru_cache(maxsize=128)
def _packed(shared: tuple[Any, ...]) -> bytes:
    return pickle.dumps(shared)


@functools.lru_cache(maxsize=128)
def _unpacked(shared: bytes) -> tuple[Any, ...]:
    fields: tuple[Any, ...] = pickle.loads(shared)
    return fields


class ActionFailed(Exception):
    """A failure of the user's code as it leaves a worker: a value that is printable everywhere, and its phase."""

    def __init__(self, info: ErrorInfo, phase: ActionPhase = ActionPhase.FAILED) -> None:
        super().__init__(info, phase)
        self.info = info
        self.phase = phase
