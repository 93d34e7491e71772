"""``flyteray.run`` executes a task once, on the cluster or in this process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, ParamSpec, TypeVar

from flyteray import _place
from flyteray._client.bridge import Verb, not_while_loading, run_here
from flyteray._client.credentials.caller_secrets import take_secrets
from flyteray._client.launch import LaunchContext
from flyteray._client.local.run import LocalRun, run_locally
from flyteray._client.plan import PlannedRun
from flyteray._client.runs.handle import Run
from flyteray._client.runs.remote_task import RemoteTask, TaskDetails
from flyteray._client.session.owner import owner, without_projects
from flyteray._client.session.session import session
from flyteray._declare import context
from flyteray._declare.env_vars import check_env_vars
from flyteray._declare.environment import not_yet, without_meaning
from flyteray._declare.options.trigger import check_action_concurrency
from flyteray._declare.tasks.task import Task
from flyteray._plan import failure
from flyteray._plan.bundle import code
from flyteray._plan.bundle.shipping import PLAIN_NAME, SHIPPING
from flyteray._plan.spec import RunSpec, RunWide, TaskSpec
from flyteray._plan.tasks import task_spec, with_env_vars
from flyteray._plan.values import inputs, pickling
from flyteray._plan.values.inputs import bind_deployed
from flyteray.errors import BaseRuntimeError, RuntimeUserError, StorageNotSharedError, StorageTakenError
from flyteray.storage import open_storage

P = ParamSpec("P")
R = TypeVar("R")

_OWNER = "with_runcontext"
_WITHOUT_MEANING = (
    "service_account",
    "queue",
    "run_base_dir",
    "run_start_time",
    "labels",
    "annotations",
    "reset_root_logger",
    "preserve_original_types",
    "debug",
)
_SCOPES = ("global", "project-domain")
_LOCAL_ONLY = ("tracked", "tracked_strict")


class RunVerb(Verb[..., Any]):
    """Runs tasks; a type checker holds the inputs against the task's own signature."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], context: RunContext) -> None:
        super().__init__(function)
        self._context = context

    def __call__(
        self, task: Task[P, R] | RemoteTask | TaskDetails, /, *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        if not (self._context.is_local and isinstance(task, Task)):
            return super().__call__(task, *args, **kwargs)
        try:
            return run_here(self.aio(task, *args, **kwargs), suspends=task.is_async)
        except BaseRuntimeError as error:
            raise error.with_traceback(failure.users_frames(error.__traceback__)) from error.__cause__
        except SystemExit as error:  # of a coroutine beside the task: it leaves the loop at once
            raise failure.as_flyteray(error) from error


@dataclass(frozen=True, kw_only=True)
class RunContext(LaunchContext):
    """How to run, said before running: ``with_runcontext(mode="local").run(task, x=1)``.

    Args:
        mode: ``"remote"`` on the cluster, returning at once; ``"local"`` in this process to the end, raising what
            the task raises. Default: remote, and inside a local run local.
        name: The run's name; it must be new on the cluster. Default: a random one. Letters, digits,
            ``.``, ``-`` and ``_``.
        service_account, labels, annotations: Of Kubernetes. They mean nothing on Ray, and a warning says so.
        version: What this state of the code is called, ``ctx().version`` in tasks.
        root_dir: The folder that the bundle mirrors. Default: that of :func:`flyteray.init`. Not of Flyte.
        copy_style: ``"loaded_modules"`` ships the task's module and the modules of yours that it imports;
            ``"all"`` every file below ``init(root_dir=...)`` (or the folder that the module is imported from) which
            no ``.gitignore`` or ``.flyteignore`` names; ``"none"`` nothing, so that the cluster must have the module.
        dry_run: Check and pack all that would be sent, and run nothing: the handle that is returned tells what.
        copy_bundle_to: A folder to put a copy of what is shipped in, to look at.
        interactive_mode: Pickle the task by value (True), or never (False). Default: where it is in no file that could
            be imported: defined in a notebook, at a prompt or inside a function.
        raw_data_path: Where the files go that the tasks make: below it, for each run and action. A URL, or a folder
            that all nodes share. Default: the storage.
        run_base_dir, run_start_time, queue, debug: Of Flyte's own services. They mean nothing on Ray, and a warning
            says so.
        overwrite_cache, disable_run_cache: Results are computed anew in any case, as nothing keeps them yet.
        project, domain: Ray has none, and a warning says so.
        env_vars: Environment variables of all tasks of the run; they go before those of the tasks.
        interruptible: May run on nodes that can vanish. Ray knows no such nodes, so this changes nothing.
        log_level: ``LOG_LEVEL`` of the tasks.
        log_format: ``LOG_FORMAT`` of the tasks, unless it is ``"console"``.
        user_log_level: ``USER_LOG_LEVEL`` of the tasks.
        reset_root_logger: Means nothing here, and says so: nobody has changed the root logger.
        max_action_concurrency: Actions at one time, 0 or 2 and more. A warning says that Ray decides that for now.
        notifications: Who is told of the run. A warning says that nobody is for now.
        custom_context: What all tasks of the run find in ``ctx().custom_context``.
        cache_lookup_scope: Whose results would be reused; none are for now.
        preserve_original_types: Values arrive as what they were in any case.
        tracked, tracked_strict: Keep a local run. A warning says that it is kept while its handle is.

    Raises:
        TypeError: an option of a wrong type.
        ValueError: another mode or copy style, ``"none"`` without a version, a bad name, or a value that can't be.
    """

    name: str | None = None
    service_account: str | None = None
    run_base_dir: str | None = None
    run_start_time: datetime | None = None
    overwrite_cache: bool = False
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    interruptible: bool | None = None
    reset_root_logger: bool = False
    disable_run_cache: bool = False
    queue: str | None = None
    max_action_concurrency: int | None = None
    notifications: Any = None
    custom_context: dict[str, str] | None = None
    cache_lookup_scope: Literal["global", "project-domain"] = "global"
    preserve_original_types: bool = False
    debug: bool = False
    tracked: bool = False
    tracked_strict: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and not (isinstance(self.name, str) and PLAIN_NAME.fullmatch(self.name)):
            raise ValueError(
                f"{self.name!r} can't be a run's name: use at most 63 letters, digits, '.', '_' and '-', a letter or "
                "digit first."
            )
        self._check()
        self._warn()

    @not_while_loading("flyteray.run")
    async def _run(
        self, task: Task[..., Any] | RemoteTask | TaskDetails, /, *args: Any, **kwargs: Any
    ) -> Run | LocalRun | PlannedRun:
        if isinstance(task, (RemoteTask, TaskDetails)):
            return await self._run_deployed(task, args, kwargs)
        if not isinstance(task, Task):
            raise TypeError(
                f"On flyteray tasks can be run, not generic functions or methods: got {task!r}. "
                "Decorate it with @env.task."
            )
        arguments = inputs.bind(task, args, kwargs)
        name = self._name()
        if self.is_local:
            with context.custom_context(**self.wide.custom_context):
                return await run_locally(name, task, arguments, session().settings, owner())
        # It reads files: not on an app's loop.
        ref, bundle = await asyncio.to_thread(code.ship, task, session().shipping(self._shipping()))
        payload = pickling.dump(arguments, "inputs")
        spec = task_spec(task, ref, self.version)
        if self.dry_run:
            return PlannedRun(name, spec)
        await take_secrets([spec.environment], lambda: code.reached(task))
        await session().upload(bundle)
        return await self._start(name, spec, payload)

    def check_deployed(self, task: str) -> None:
        """Raise ValueError for local mode and for options of shipping: a deployed task's code was shipped before."""
        if self._shipping() != SHIPPING:
            raise ValueError(
                f"The code of {task!r} is that which was deployed, so nothing can be said of how to ship it (version, "
                'copy_style, root_dir, ...). A version is named in remote.Task.get(name, version="..."), and as '
                "`flyteray run deployed-task NAME:VERSION`."
            )
        if self.is_local:
            raise ValueError(
                f"Deployed task {task!r} runs on its cluster only: its code is there. Import the task to run it in "
                "local mode."
            )

    async def _run_deployed(
        self, task: RemoteTask | TaskDetails, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Run | PlannedRun:
        self.check_deployed(task.name)
        details = task if isinstance(task, TaskDetails) else await task.fetch.aio()
        plan = details.info.plan
        payload = pickling.dump(bind_deployed(plan, args, kwargs), "inputs")
        if self.dry_run:
            return PlannedRun(self._name(), plan.spec)
        await take_secrets([plan.spec.environment])
        return await self._start(self._name(), plan.spec, payload)

    async def _start(self, name: str, task: TaskSpec, inputs: pickling.Payload) -> Run:
        wide = self.wide
        custom_context = {**context.custom.get(), **wide.custom_context}
        spec = RunSpec(
            name=name,
            task=with_env_vars(task, wide.env_vars),
            request=uuid.uuid4().hex,
            owner=owner(),
            wide=wide.model_copy(update={"custom_context": custom_context}),
        )
        await session().warn_of_shortage(f"Task {spec.task.name!r}", spec.task.environment)
        if inputs.nbytes <= pickling.RELAYED:
            return Run(await session().controller.runs.start(spec, inputs))
        root, key = (await asyncio.to_thread(session().connect)).storage, pickling.inputs_key(spec.request)
        kept = await asyncio.to_thread(pickling.store, inputs, root, key)
        try:
            return Run(await session().controller.runs.start(spec.model_copy(update={"inputs": key}), kept))
        except (RuntimeUserError, StorageNotSharedError, StorageTakenError):
            # Refused: of any other error the run may know nothing.
            await asyncio.to_thread(open_storage(root).delete, key)
            raise

    def _name(self) -> str:
        return self.name or f"r{uuid.uuid4().hex[:12]}"

    @property
    def wide(self) -> RunWide:
        """The variables, the context and the folder that all tasks of the run find."""
        return RunWide(
            env_vars=self._log_variables() | (self.env_vars or {}),
            custom_context=self.custom_context or {},
            raw_data_path=_place.root(self.raw_data_path) if self.raw_data_path else None,
        )

    @property
    def run(self) -> RunVerb:
        """Run a task; see :func:`flyteray.run`."""
        return RunVerb(self._run, self)

    def _check(self) -> None:
        if self.env_vars is not None:
            try:
                check_env_vars(_OWNER, self.env_vars)
            except TypeError as error:
                raise ValueError(str(error)) from None
        context = self.custom_context
        if context is not None and not (
            isinstance(context, Mapping)
            and all(isinstance(text, str) for pair in context.items() for text in pair)
        ):
            raise TypeError(f"{_OWNER}: custom_context must map str to str, got {context!r}.")
        if self.log_format not in ("console", "json"):
            raise ValueError(f'{_OWNER}: log_format must be "console" or "json", got {self.log_format!r}.')
        path = self.raw_data_path
        if path is not None and not isinstance(path, str):
            raise TypeError(f"{_OWNER}: raw_data_path must be a str, got {path!r}.")
        if path:
            _place.root(path)
        check_action_concurrency(_OWNER, self.max_action_concurrency)
        if self.cache_lookup_scope not in _SCOPES:
            raise ValueError(
                f"{_OWNER}: cache_lookup_scope must be one of {', '.join(map(repr, _SCOPES))}, got "
                f"{self.cache_lookup_scope!r}."
            )
        for option in _LOCAL_ONLY:
            if getattr(self, option) and self.mode != "local":
                raise ValueError(f'{_OWNER}: {option} is of local runs only: say mode="local" with it.')

    def _warn(self) -> None:
        without_projects(_OWNER, self.project, self.domain)
        for option in _WITHOUT_MEANING:
            if getattr(self, option):
                without_meaning(_OWNER, option)
        if self.max_action_concurrency:
            limit = "as many actions run at one time as the cluster has room for"
            not_yet(_OWNER, "max_action_concurrency", limit)
        if self.notifications:
            not_yet(_OWNER, "notifications", "nobody is told")
        if any(getattr(self, option) for option in _LOCAL_ONLY):
            not_yet(_OWNER, "tracked", "a local run is kept while its handle is")
        if self.mode == "local":
            for option in ("env_vars", "raw_data_path"):
                if getattr(self, option):
                    not_yet(f'{_OWNER}(mode="local")', option, "tasks find what this process has")


with_runcontext = RunContext


async def _run(task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Any:
    """Run a task on the cluster and return a live handle at once; the run goes on when this process ends.

    Args:
        task: What ``@env.task`` made, or a handle of a deployed task from ``flyteray.remote.Task.get``.
        args: Its inputs, positional or
        kwargs: by name; any Python values, checked against the task's annotations here, and converted as Flyte does it:
            a dict for a dataclass, TypedDict or model, the name for a member of an enum. Arrays arrive read-only. What
            is larger than a megabyte lies in storage until the run has ended.

    Raises:
        TypeError: not a task, an unknown input, or one of the wrong type.
        ValueError: a required input is missing.
        RuntimeDataValidationError: the task returns a value and has no return annotation.
        ClusterError: there is no cluster to run on and none can be started.
        SecretNotFoundError: the task asks for a secret that does not exist.
        StorageNotSharedError: nodes of the cluster have another storage than the others, so nothing was begun.
        StorageTakenError: the storage is another cluster's, so nothing was begun.
        StorageError: storage can't be written.
    """
    return await RunContext()._run(task, *args, **kwargs)


run = RunVerb(_run, RunContext())
