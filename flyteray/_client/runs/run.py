"""``flyteray.run``: one execution of a task, and the handle to follow it by."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from flyteray._client.acts import acts
from flyteray._client.apps.planned import PlannedRun
from flyteray._client.bridge import ListVerb, MethodVerb, Verb, run_here
from flyteray._client.kept.known import Known
from flyteray._client.kept.taken_secrets import take_secrets
from flyteray._client.local.run import LocalRun, run_locally
from flyteray._client.progress import Progress
from flyteray._client.runs.options import run_wide
from flyteray._client.runs.remote_task import RemoteTask, TaskDetails, deployed_plan
from flyteray._client.session.current import owner
from flyteray._client.session.session import inside_local_run, session
from flyteray._declare import context
from flyteray._declare.tasks.task import Task
from flyteray._plan import failure
from flyteray._plan.bundle import code
from flyteray._plan.bundle.shipping import PLAIN_NAME, SHIPPING, CopyStyle, Shipping
from flyteray._plan.info import BEFORE_IT_BEGINS, ActionInfo, ActionPhase, RunInfo
from flyteray._plan.spec import RunSpec, RunWide, TaskSpec
from flyteray._plan.tasks import task_spec, with_env_vars
from flyteray._plan.values import inputs, pickling, stored
from flyteray._plan.values.inputs import bind_deployed
from flyteray._plan.values.outputs import ActionOutputs
from flyteray.errors import ActionAbortedError, BaseRuntimeError, RuntimeUserError
from flyteray.storage import Storage

P = ParamSpec("P")
R = TypeVar("R")

Mode = Literal["local", "remote"]

_POLL_S = 10.0  # how long one question to the controller may wait
_LOOK_S = 2.0  # likewise, while the run waits for something itself
_SOON_S = 0.2  # likewise, where its beginning is waited for, which nobody tells


class Run(Known[RunInfo]):
    """A run on a cluster. The handle is a name: it stays valid in other processes, through :meth:`get`."""

    @property
    def url(self) -> str:
        """Where the run's outputs and files are in storage."""
        return f"{session().connect().storage}/runs/{self.name}"

    @property
    def phase(self) -> ActionPhase:
        """Where the run stands now."""
        self.sync()
        return self._info.phase

    def done(self) -> bool:
        """Whether the run has ended, well or not."""
        return self.phase.is_terminal

    async def _sync(self) -> Run:
        """Ask the cluster how the run stands."""
        if not self._info.phase.is_terminal:
            self._info = await session().controller.runs.get(self.name)
        return self

    sync = MethodVerb(_sync)

    async def _wait(self, quiet: bool = False, wait_for: Literal["terminal", "running"] = "terminal") -> None:
        """Wait until the run has ended. A failed run does not raise here; see :meth:`outputs`.

        Args:
            quiet: Say nothing on stderr: neither what the run itself waits for, nor in a terminal that it goes on.
            wait_for: ``"running"`` returns when the run's task has begun, or the run has ended.

        Raises:
            ValueError: another thing to wait for.
        """
        if wait_for not in ("terminal", "running"):
            raise ValueError(f'wait_for must be "terminal" or "running", not {wait_for!r}.')
        with Progress(f"run {self.name}", quiet, live=True) as progress:
            await self._follow(progress, until_running=wait_for == "running")

    wait = MethodVerb(_wait)

    async def _follow(self, progress: Progress, until_running: bool = False) -> None:
        if until_running and not self._info.phase.is_terminal:
            await self._sync()
        while not self._info.phase.is_terminal:
            begun = self._info.phase not in BEFORE_IT_BEGINS
            if begun and until_running:
                return
            patience = _POLL_S if begun and self._info.waiting is None else _LOOK_S
            self._info = await session().controller.runs.wait(
                self.name, _SOON_S if until_running else patience
            )
            progress.tell(self._info.waiting)

    async def _outputs(self) -> ActionOutputs:
        """Wait for the run and return its outputs: ``outputs()[0]`` or ``outputs().o0`` is the first.

        Arrays in them are read-only and shared by all processes of a node: copy before changing them.

        Raises:
            BaseRuntimeError: the run failed or was aborted; the original exception is the cause.
        """
        with Progress(f"run {self.name}", quiet=False, live=False) as progress:
            await self._follow(progress)
        await self._raise_for_status()
        from flyteray._tasks.outputs import load_outputs  # deferred: it needs Ray

        return ActionOutputs(await asyncio.to_thread(load_outputs, self.name))

    outputs = MethodVerb(_outputs)

    async def _raise_for_status(self) -> None:
        """Raise the error of a run that failed or was aborted; nothing otherwise."""
        await self._sync()
        info = self._info
        if info.phase is ActionPhase.ABORTED:
            raise ActionAbortedError(info.error.message if info.error else f"Run {info.name!r} was aborted.")
        if info.error is not None:
            raise failure.restore(info.error)

    raise_for_status = MethodVerb(_raise_for_status)

    @acts("Run.abort")
    async def _abort(self, reason: str = "Manually aborted from the SDK api.") -> None:
        """End the run and all of its actions; a run that has ended stays as it is."""
        await session().controller.runs.abort(self.name, reason)
        await self._sync()

    abort = MethodVerb(_abort)

    async def _actions(self) -> list[ActionInfo]:
        """The actions of the run, its root ``a0`` first."""
        return await session().controller.runs.actions(self.name)

    actions = MethodVerb(_actions)

    @staticmethod
    async def _get(name: str) -> Run:
        """The run of that name; RunNotFoundError where there is none."""
        return Run(await session().controller.runs.get(name))

    get = Verb(_get)

    @staticmethod
    async def _listall(
        *, task_name: str | None = None, in_phase: ActionPhase | str | None = None, limit: int = 100
    ) -> list[Run]:
        """Runs, newest first.

        Args:
            task_name: Only of this task (its full name).
            in_phase: Only in this phase.
            limit: At most that many.
        """
        phase = ActionPhase(in_phase) if in_phase is not None else None
        found = await session().controller.runs.listall(task_name, phase, limit)
        return [Run(info) for info in found]

    listall = ListVerb(_listall)

    def __repr__(self) -> str:
        return f"Run(name={self.name!r}, task={self._info.task!r}, phase={self._info.phase})"


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


@dataclass(frozen=True)
class RunContext:
    """How to run: made by :func:`with_runcontext`.

    Attributes:
        mode: ``"remote"`` on the cluster, returning at once; ``"local"`` in this process to the end, raising what
            the task raises. Default: remote, and inside a local run local.
        name: The run's name. Default: a random one.
        shipping: How the code travels.
        wide: What all tasks of the run find.
        dry_run: Check and pack all that would be sent, and run nothing.

    Raises:
        ValueError: a bad name: storage has a folder of it.
    """

    mode: Mode | None = None
    name: str | None = None
    shipping: Shipping = SHIPPING
    wide: RunWide = field(default_factory=RunWide)
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.name is not None and not (isinstance(self.name, str) and PLAIN_NAME.fullmatch(self.name)):
            raise ValueError(
                f"{self.name!r} can't be a run's name: use at most 63 letters, digits, '.', '_' and '-', a letter or "
                "digit first."
            )

    @acts("flyteray.run")
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
        ref, bundle = await asyncio.to_thread(code.ship, task, session().shipping(self.shipping))
        payload = pickling.dump(arguments, "inputs")
        spec = task_spec(task, ref, self.shipping.version)
        if self.dry_run:
            return PlannedRun(name, spec)
        await take_secrets([spec.environment], lambda: code.reached(task))
        await session().upload(bundle)
        return await self._start(name, spec, payload)

    def check_deployed(self, task: str) -> None:
        """Refuse what is said that can't be so of a deployed task.

        Raises:
            ValueError: how to ship its code, which was shipped when it was deployed, or local mode.
        """
        if self.shipping != SHIPPING:
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
        plan = await deployed_plan(task)
        payload = pickling.dump(bind_deployed(plan, args, kwargs), "inputs")
        if self.dry_run:
            return PlannedRun(self._name(), plan.spec)
        await take_secrets([plan.spec.environment])
        return await self._start(self._name(), plan.spec, payload)

    async def _start(self, name: str, task: TaskSpec, inputs: pickling.Payload) -> Run:
        told = {**context.custom.get(), **self.wide.custom_context}
        spec = RunSpec(
            name=name,
            task=with_env_vars(task, self.wide.env_vars),
            request=uuid.uuid4().hex,
            owner=owner(),
            wide=self.wide.model_copy(update={"custom_context": told}),
        )
        await session().warn_of_less(f"Task {spec.task.name!r}", spec.task.environment)
        if inputs.nbytes <= stored.RELAYED:
            return Run(await session().controller.runs.start(spec, inputs))
        root, key = (await asyncio.to_thread(session().connect)).storage, stored.inputs_key(spec.request)
        kept = await asyncio.to_thread(stored.store, inputs, root, key)
        try:
            return Run(await session().controller.runs.start(spec.model_copy(update={"inputs": key}), kept))
        except RuntimeUserError:  # it was refused: of any other error the run may know nothing
            await asyncio.to_thread(Storage.at(root).delete, key)
            raise

    def _name(self) -> str:
        return self.name or f"r{uuid.uuid4().hex[:12]}"

    @property
    def is_local(self) -> bool:
        """Whether it runs in this process."""
        return self.mode == "local" or (self.mode is None and inside_local_run())

    @property
    def run(self) -> RunVerb:
        """Run a task; see :func:`flyteray.run`."""
        return RunVerb(self._run, self)


def with_runcontext(
    mode: Mode | None = None,
    *,
    name: str | None = None,
    service_account: str | None = None,
    version: str | None = None,
    copy_style: CopyStyle = "loaded_modules",
    dry_run: bool = False,
    copy_bundle_to: str | Path | None = None,
    interactive_mode: bool | None = None,
    raw_data_path: str | None = None,
    run_base_dir: str | None = None,
    run_start_time: datetime | None = None,
    overwrite_cache: bool = False,
    project: str | None = None,
    domain: str | None = None,
    env_vars: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    interruptible: bool | None = None,
    log_level: int | str | None = None,
    log_format: Literal["console", "json"] = "console",
    user_log_level: int | str | None = None,
    reset_root_logger: bool = False,
    disable_run_cache: bool = False,
    queue: str | None = None,
    max_action_concurrency: int | None = None,
    notifications: Any = None,
    custom_context: dict[str, str] | None = None,
    cache_lookup_scope: Literal["global", "project-domain"] = "global",
    preserve_original_types: bool = False,
    debug: bool = False,
    tracked: bool = False,
    tracked_strict: bool = False,
) -> RunContext:
    """Say how to run before running: ``with_runcontext(mode="local").run(task, x=1)``.

    Args:
        mode: ``"remote"`` or ``"local"``; see :class:`RunContext`.
        name: The run's name; it must be new on the cluster. Letters, digits, ``.``, ``-`` and ``_``.
        service_account: Of Kubernetes: means nothing on Ray, and says so.
        version: What this state of the code is called, ``ctx().version`` in tasks.
        copy_style: ``"loaded_modules"`` ships the task's module and the modules of yours that it imports;
            ``"all"`` every file below ``init(root_dir=...)`` (or the folder that the module is imported from) which
            no ``.gitignore`` or ``.flyteignore`` names; ``"none"`` nothing, so that the cluster must have the module.
        dry_run: Check and pack all that would be sent, and run nothing: the handle that is returned tells what.
        copy_bundle_to: A folder to put a copy of what is shipped in, to look at.
        interactive_mode: Pickle the task by value (True), or never (False). Default: where it is in no file that could
            be imported: defined in a notebook, at a prompt or inside a function.
        raw_data_path: Where the files go that the tasks make: below it, for each run and action. Default: the storage.
        run_base_dir: Of Flyte's storage: means nothing on Ray, and says so.
        run_start_time: Likewise: a run starts when it does.
        overwrite_cache: Results are computed anew in any case, as nothing keeps them yet.
        project: Ray has none; says so.
        domain: Likewise.
        env_vars: Environment variables of all tasks of the run; they go before those of the tasks.
        labels: Of Kubernetes: means nothing on Ray, and says so.
        annotations: Likewise.
        interruptible: May run on nodes that can vanish. Ray knows no such nodes, so this changes nothing.
        log_level: ``LOG_LEVEL`` of the tasks.
        log_format: ``LOG_FORMAT`` of the tasks, unless it is ``"console"``.
        user_log_level: ``USER_LOG_LEVEL`` of the tasks.
        reset_root_logger: Means nothing here, and says so: nobody has changed the root logger.
        disable_run_cache: As ``overwrite_cache``.
        queue: Of Flyte's scheduler: means nothing on Ray, and says so.
        max_action_concurrency: Actions at one time, 0 or 2 and more. A warning says that Ray decides that for now.
        notifications: Who is told of the run. A warning says that nobody is for now.
        custom_context: What all tasks of the run find in ``ctx().custom_context``.
        cache_lookup_scope: Whose results would be reused; none are for now.
        preserve_original_types: Values arrive as what they were in any case.
        debug: Of Flyte's console: means nothing on Ray, and says so.
        tracked: Keep a local run. A warning says that it is kept while its handle is.
        tracked_strict: Likewise.

    Raises:
        TypeError: an option of a wrong type.
        ValueError: another mode or copy style, ``"none"`` without a version, a bad name, or a value that can't be.
    """
    options = dict(locals())
    if mode not in (None, "local", "remote"):
        raise ValueError(f'mode must be "local" or "remote", not {mode!r}.')
    shipping = Shipping(
        copy_style=copy_style,
        interactive=interactive_mode,
        copy_bundle_to=Path(copy_bundle_to) if copy_bundle_to else None,
        version=version,
    )
    return RunContext(mode, name, shipping, run_wide(options, mode), dry_run)


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
    """
    return await RunContext()._run(task, *args, **kwargs)


run = RunVerb(_run, RunContext())
