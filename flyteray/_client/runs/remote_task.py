"""Deployed tasks are used by name: a handle needs none of their code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

from typing_extensions import Unpack

from flyteray._client.bridge import ListVerb, MethodVerb, Verb
from flyteray._client.session.owner import without_projects
from flyteray._client.session.session import session
from flyteray._declare import context
from flyteray._declare.options.cache import Cache
from flyteray._declare.options.documentation import Link
from flyteray._declare.options.task import Overrides
from flyteray._handles import AsJson
from flyteray._plan.info import TaskInfo, to_json
from flyteray._plan.runs import order_of
from flyteray._plan.tasks import overridden
from flyteray._plan.values.inputs import bind_deployed
from flyteray.errors import RemoteTaskUsageError

AutoVersion = Literal["latest", "current"]

_ALL = 2**31 - 1
_SORTED_BY: dict[str, Callable[[TaskInfo], Any]] = {
    "created_at": lambda info: info.deployed_at,
    "name": lambda info: info.plan.name,
    "version": lambda info: info.plan.version,
}


class RemoteTask:
    """A task that was deployed, by name; made by :meth:`get`, which asks nobody yet.

    Inside a task, awaiting a call with the inputs by name runs it as a child action. Elsewhere give it to
    :func:`flyteray.run`.

    Attributes:
        name: The full name, ``<environment>.<function>``.
        version: Which version; None: the newest at the time when it is used.
    """

    def __init__(self, name: str, version: str | None = None, changes: dict[str, Any] | None = None) -> None:
        self.name = name
        self.version = version
        self._changes = changes or {}

    @classmethod
    def get(
        cls,
        name: str,
        project: str | None = None,
        domain: str | None = None,
        version: str | None = None,
        auto_version: AutoVersion | None = None,
    ) -> RemoteTask:
        """A handle of a deployed task.

        Args:
            name: The full name, ``<environment>.<function>``.
            project, domain: Of Flyte: they mean nothing here, and say so.
            version: Which version, or
            auto_version: ``"latest"``: the one that was deployed last at the time when the handle is used;
                ``"current"``: the version of the task that asks.

        Raises:
            ValueError: Neither or both of the versions are given, or ``"current"`` outside a deployed task.
        """
        without_projects("Task.get", project, domain)
        if (version is None) == (auto_version is None):
            raise ValueError(f'Task {name!r}: say version="..." or auto_version="latest", one of them.')
        if auto_version not in (None, "latest", "current"):
            raise ValueError(f'auto_version must be "latest" or "current", not {auto_version!r}.')
        if auto_version == "current":
            version = context.ctx().version
            if version is None:
                raise ValueError(
                    f'Task {name!r}: auto_version="current" is the version of the task that asks, and this is no '
                    'deployed task. Say auto_version="latest", or run the asking task by a handle of its own.'
                )
        return cls(name, version)

    @staticmethod
    @ListVerb
    async def listall(
        by_task_name: str | None = None,
        by_task_env: str | None = None,
        project: str | None = None,
        domain: str | None = None,
        sort_by: tuple[str, Literal["asc", "desc"]] | None = None,
        limit: int = 100,
        entrypoint: bool | None = None,
    ) -> list[TaskDetails]:
        """Deployed tasks, the one that was deployed last first.

        Args:
            by_task_name: All versions of this one, by its full name. Default: the newest version of each task.
            by_task_env: Only of this environment.
            project, domain: Of Flyte: they mean nothing here, and say so.
            sort_by: A field, ``"created_at"`` (when it was deployed), ``"name"`` or ``"version"``, and ``"asc"`` or
                ``"desc"``.
            limit: At most that many.
            entrypoint: Only those that are declared with ``entrypoint=True``, or only the others. Default: all.

        Raises:
            ValueError: A word that is no field.
        """
        without_projects("Task.listall", project, domain)
        field, descending = order_of(sort_by or ("created_at", "desc"), tuple(_SORTED_BY))
        most = limit if sort_by is None and entrypoint is None else _ALL
        found = await session().controller.tasks.listall(by_task_name, by_task_env, most)
        chosen = [info for info in found if entrypoint in (None, info.plan.entrypoint)]
        if sort_by is not None:
            chosen.sort(key=_SORTED_BY[field], reverse=descending)
        return [TaskDetails(info) for info in chosen[:limit]]

    @MethodVerb
    async def fetch(self) -> TaskDetails:
        """The details that are recorded of the task.

        Raises:
            RemoteTaskNotFoundError: there is no such task or version; the message says what there is.
        """
        info = await session().controller.tasks.get(self.name, self.version)
        plan, links = overridden(info.plan, self._changes)
        return TaskDetails(info.model_copy(update={"plan": plan}), self._changes, links)

    @MethodVerb
    async def override(self, **changes: Unpack[Overrides]) -> RemoteTask:
        """A handle of the same task with other settings, such as ``resources``, ``env_vars`` or ``retries``.

        They are checked when the handle is used, as :meth:`flyteray.Task.override` does it.
        """
        return self._with(changes)

    def _with(self, changes: Mapping[str, Any]) -> RemoteTask:
        return RemoteTask(self.name, self.version, {**self._changes, **changes})

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Inside a task: run it as a child action, with its inputs by name, and await its output.

        Raises:
            RemoteTaskUsageError: Outside a task, in local mode, or with inputs by position.
            RemoteTaskNotFoundError: there is no such task or version.
            TypeError: An unknown input.
            ValueError: A required input is missing.
        """
        runtime = context.runtime.get()
        if runtime is None:
            raise RemoteTaskUsageError(
                f"Deployed task {self.name!r} can be called from within tasks. Here, run it: flyteray.run(task, ...)."
            )
        task = await self.fetch.aio()
        plan = task.info.plan
        return await runtime.acall_deployed(
            plan, bind_deployed(plan, args, kwargs, named_only=True), task.links
        )

    def __repr__(self) -> str:
        return f"Task(name={self.name!r}, version={self.version or 'latest'!r})"


class TaskDetails(AsJson):
    """The record of a deployed version of a task.

    Attributes:
        info: All that is recorded.
        name: The full name.
        version: The version.
        docs: What it does.
        required_args: The names of the inputs that a call must give.
        default_input_args: The names of the inputs that have defaults.
        inputs: The types of the inputs by name, in words.
        outputs: The types of the outputs by name, in words.
        resources: What Ray is asked for: CPUs, GPUs, memory in bytes and more.
        secrets: The keys of the secrets that it asks for.
        entrypoint: Whether it is declared as one that runs begin with.
        links: Those that an override has given it in place of its own; empty where none has.
    """

    def __init__(
        self, info: TaskInfo, changes: dict[str, Any] | None = None, links: tuple[Link, ...] = ()
    ) -> None:
        plan = info.plan
        self.info = info
        self.name = plan.name
        self.version = plan.version
        self.docs = plan.docs
        self.required_args = tuple(each.name for each in plan.inputs if each.default is None)
        self.default_input_args = tuple(each.name for each in plan.inputs if each.default is not None)
        self.inputs = {each.name: each.type for each in plan.inputs}
        self.outputs = plan.outputs
        self.resources = plan.spec.environment
        self.secrets = tuple(secret.key for secret in self.resources.secrets)
        self.entrypoint = plan.entrypoint
        self.links = links
        self._changes = changes or {}

    @property
    def url(self) -> str:
        """Empty: tasks have no page."""
        return ""

    @property
    def cache(self) -> Cache:
        """Which of its results are reused; the state of its code is named by ``version_override``."""
        spec = self.info.plan.spec.cache
        if spec is None:
            return Cache("disable")
        age = None if spec.max_age_s is None else timedelta(seconds=spec.max_age_s)
        return Cache(spec.behavior, spec.version, spec.serialize, spec.ignored_inputs, max_age=age)

    @staticmethod
    @Verb
    async def fetch(
        name: str,
        project: str | None = None,
        domain: str | None = None,
        version: str | None = None,
        auto_version: AutoVersion | None = None,
    ) -> TaskDetails:
        """The details of a deployed task; arguments and errors as of :meth:`RemoteTask.get` and its ``fetch``."""
        return await RemoteTask.get(name, project, domain, version, auto_version).fetch.aio()

    def override(self, **changes: Unpack[Overrides]) -> RemoteTask:
        """A handle of this version with other settings; see :meth:`RemoteTask.override`."""
        return self._with(changes)

    def _with(self, changes: Mapping[str, Any]) -> RemoteTask:
        return RemoteTask(self.name, self.version, {**self._changes, **changes})

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run this version as a child action; see :meth:`RemoteTask.__call__`."""
        return await self._with({})(*args, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """All that is recorded, as plain JSON values."""
        return to_json(self.info)

    def __repr__(self) -> str:
        return f"TaskDetails(name={self.name!r}, version={self.version!r}, inputs={self.inputs})"
