"""``flyteray.run`` executes a task once, on the cluster or in this process."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ParamSpec, TypeVar

from flyteray._client.bridge import Verb, loop_runs_here, not_while_loading, run_here
from flyteray._client.credentials.caller_secrets import take_secrets
from flyteray._client.local.notices import told
from flyteray._client.local.run import run_locally
from flyteray._client.plan import PlannedRun
from flyteray._client.runs import source
from flyteray._client.runs.handle import Run, checked_name
from flyteray._client.runs.local import LocalRun
from flyteray._client.runs.options import RunOptions
from flyteray._client.runs.remote_task import RemoteTask, TaskDetails
from flyteray._client.runs.results import cached, reuse
from flyteray._client.runs.traced import asking, running_here
from flyteray._client.session.owner import owner
from flyteray._client.session.session import session
from flyteray._client.triggers.details import TriggerDetails
from flyteray._declare import context
from flyteray._declare.facts import ActionID
from flyteray._declare.options.documentation import Link
from flyteray._declare.tasks.task import Task
from flyteray._notify.messages import Ended
from flyteray._plan import failure
from flyteray._plan.actions.links import links_of
from flyteray._plan.actions.names import ROOT
from flyteray._plan.bundle import code
from flyteray._plan.bundle.bundle import Bundle
from flyteray._plan.spec import RunSpec, TaskSpec
from flyteray._plan.tasks import task_spec
from flyteray._plan.triggers.trigger import inputs_of
from flyteray._plan.values import inputs, pickling
from flyteray._plan.values.inputs import bind_deployed
from flyteray._plan.values.stand_in import taken, taken_async
from flyteray.errors import BaseRuntimeError, RuntimeUserError, StorageNotSharedError, StorageTakenError
from flyteray.storage import open_storage

P = ParamSpec("P")
R = TypeVar("R")


class RunVerb(Verb[..., Any]):
    """Runs tasks; a type checker holds the inputs against the task's own signature."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], context: RunContext) -> None:
        super().__init__(function)
        self._context = context

    def __call__(
        self,
        task: Task[P, R] | RemoteTask | TaskDetails | TriggerDetails,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
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
class RunContext(RunOptions):
    """How to run, said before running: ``with_runcontext(mode="local").run(task, x=1)``.

    Args:
        mode: ``"remote"`` on the cluster, returning at once; ``"local"`` in this process to the end, raising what
            the task raises. Default: remote, and inside a local run local.
        name: The run's name; it must be new on the cluster. Default: a random one. Letters, digits,
            ``.``, ``-`` and ``_``.
        service_account, annotations: Of Kubernetes. They mean nothing on Ray, and a warning says so.
        labels: Texts by name, by which :meth:`Run.listall` and ``flyteray get run --with-label`` find the run.
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
        run_base_dir, queue, debug: Of Flyte's own services. They mean nothing on Ray, and a warning says so.
        run_start_time: What tasks find as ``ctx().run_start_time``; one without a time zone is in UTC. Default: the
            time of asking, or for the run of a trigger that of the tick.
        overwrite_cache: Run all tasks of the run anew, and keep their results where they ask for that.
        disable_run_cache: Neither reuse nor keep results of tasks of the run.
        project, domain: Ray has none, and a warning says so.
        env_vars: Environment variables of all tasks of the run; they go before those of the tasks.
        interruptible: May run on nodes that can vanish. Ray knows no such nodes, so this changes nothing.
        log_level: ``LOG_LEVEL`` of the tasks.
        log_format: ``LOG_FORMAT`` of the tasks, unless it is ``"console"``.
        user_log_level: ``USER_LOG_LEVEL`` of the tasks.
        reset_root_logger: Give the root logger of the tasks' processes flyteray's form and level; in local mode that of
            this process, until the run has ended.
        max_action_concurrency: The most actions of the run that run at one time, 2 or more; 0: as many as there is
            room for. An action that waits for those that it has called does not count.
        notifications: Who is told how the run ends: one or several of :mod:`flyteray.notify`.
        custom_context: What all tasks of the run find in ``ctx().custom_context``.
        cache_lookup_scope: Whose results are reused: ``"global"`` everybody's, ``"project-domain"`` those
            of the project and domain that :func:`flyteray.init` was told.
        preserve_original_types: Values arrive as what they were in any case.
        tracked, tracked_strict: Of local runs, whose history Flyte then writes to a file. They change nothing, and a
            warning says so: here the handle has it.

    Raises:
        TypeError: an option of a wrong type.
        ValueError: another mode or copy style, ``"none"`` without a version, a bad name, or a value that can't be.
    """

    @not_while_loading("flyteray.run")
    async def _run(
        self, task: Task[..., Any] | RemoteTask | TaskDetails | TriggerDetails, /, *args: Any, **kwargs: Any
    ) -> Run | LocalRun | PlannedRun:
        if isinstance(task, TriggerDetails):
            return await self._fire(task, args, kwargs)
        if isinstance(task, (RemoteTask, TaskDetails)):
            return await self._run_deployed(task, args, kwargs)
        if not isinstance(task, Task):
            raise TypeError(
                f"On flyteray tasks can be run, not generic functions or methods: got {task!r}. "
                "Decorate it with @env.task."
            )
        # A local run on a thread without a loop is a coroutine that never suspends.
        given = await taken_async(args, kwargs) if loop_runs_here() else taken(args, kwargs)
        arguments = inputs.bind(task, *given, here=self.is_local)
        name = self._name()
        if self.is_local:
            run = Ended(name, task.name, "", "", owner().project or "", owner().domain or "")
            with (
                context.custom_context(**self.wide.custom_context),
                told(self._notified(), run, session().settings),
                running_here(session().settings, name, task.name),
            ):
                wide, labels = self._wide_now(), self.labels or {}
                return await run_locally(name, task, arguments, session().settings, owner(), wide, labels)
        payload = pickling.dump(arguments, "inputs")
        if self.dry_run:
            return PlannedRun(name, (await self._packed(task))[0])
        # At one time: a large input is looked through while the code is packed and goes up.
        spec, call = await asyncio.gather(
            self._shipped(task), asyncio.to_thread(cached, task, arguments, self._caching, owner())
        )
        asked = _linked(self._asked(name, spec).model_copy(update={"cached": call}), task.links)
        if reused := await reuse(asked, payload):
            return reused
        await take_secrets([spec.environment], lambda: code.reached(task))
        return await _begin(asked, payload)

    async def _packed(self, task: Task[..., Any]) -> tuple[TaskSpec, Bundle]:
        """The spec of a task and its code as a bundle."""
        # It reads files: not on an app's loop.
        ref, bundle = await asyncio.to_thread(code.ship, task, session().shipping(self._shipping()))
        return task_spec(task, ref, self.version), bundle

    async def _shipped(self, task: Task[..., Any]) -> TaskSpec:
        """The spec of a task whose code the cluster has."""
        spec, bundle = await self._packed(task)
        await session().upload(bundle)
        return spec

    async def _run_deployed(
        self, task: RemoteTask | TaskDetails, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Run | PlannedRun:
        self.check_deployed(task.name)
        details = task if isinstance(task, TaskDetails) else await task.fetch.aio()
        plan = details.info.plan
        payload = pickling.dump(bind_deployed(plan, *await taken_async(args, kwargs)), "inputs")
        if self.dry_run:
            return PlannedRun(self._name(), plan.spec)
        await take_secrets([plan.spec.environment])
        return await _begin(_linked(self._asked(self._name(), plan.spec), details.links), payload)

    async def _fire(
        self, trigger: TriggerDetails, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Run | PlannedRun:
        """Start a run of a trigger now: what is said here goes before what the trigger says."""
        spec = trigger.info.spec
        self.check_deployed(spec.task)
        plan = (await session().controller.tasks.get(spec.task, spec.version)).plan
        known = dict.fromkeys(spec.time_inputs, datetime.now(timezone.utc))
        known |= bind_deployed(plan, *await taken_async(args, kwargs), partial=True)
        there = {*spec.given, *known}
        if missing := [each.name for each in plan.inputs if each.default is None and each.name not in there]:
            raise ValueError(f"Missing required inputs: {', '.join(missing)} (of trigger {spec.name!r}).")
        given: pickling.Payload = pickle.loads(
            await session().controller.triggers.inputs(spec.task, spec.name)
        )
        task = spec.of_version(plan.spec)
        if self.dry_run:
            return PlannedRun(self._name(), task)
        await take_secrets([task.environment])
        return await _begin(spec.asked_for(self._asked(self._name(), task)), inputs_of(given, known))

    @not_while_loading("flyteray.rerun")
    async def _rerun(
        self,
        run_name: str,
        /,
        action_name: str = ROOT,
        *,
        recover: bool = False,
        force_rerun_actions: Collection[str] | None = None,
        allow_missing_source_outputs: bool = False,
        **inputs: Any,
    ) -> Run | PlannedRun:
        again = tuple(force_rerun_actions or ())
        source.check(action_name, recover, again, self.is_local)
        earlier = await session().controller.runs.spec(checked_name("rerun", run_name))
        if recover:
            await source.check_recoverable(run_name, again, allow_missing_source_outputs)
        task = await source.task(earlier, action_name)
        payload = await source.inputs(earlier, action_name, dict((await taken_async((), inputs))[1]))
        if self.dry_run:
            return PlannedRun(self._name(), task)
        await take_secrets([task.environment])
        asked = self._asked(self._name(), task)
        wide = {
            "env_vars": {**earlier.wide.env_vars, **asked.wide.env_vars},
            "custom_context": {**earlier.wide.custom_context, **asked.wide.custom_context},
            "raw_data_path": asked.wide.raw_data_path or earlier.wide.raw_data_path,
            "recovers": run_name if recover else None,
            "again": again,
        }
        changes = {"wide": asked.wide.model_copy(update=wide), "unchecked": bool(inputs)}
        return await _begin(asked.model_copy(update=changes), payload)

    @property
    def run(self) -> RunVerb:
        """Run a task; see :func:`flyteray.run`."""
        return RunVerb(self._run, self)

    @property
    def rerun(self) -> Verb[..., Any]:
        """Run again what a run has done; see :func:`flyteray.rerun`."""
        return Verb(self._rerun)


async def _begin(spec: RunSpec, inputs: pickling.Payload) -> Run:
    await session().warn_of_shortage(f"Task {spec.task.name!r}", spec.task.environment)
    async with asking(spec) as asked:
        return await _start(asked, inputs)


async def _start(spec: RunSpec, inputs: pickling.Payload) -> Run:
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


def _linked(spec: RunSpec, links: Iterable[Link]) -> RunSpec:
    """A run whose root action has the addresses of links."""
    root = ActionID(ROOT, spec.name, *spec.owner)
    return spec.model_copy(
        update={"links": links_of(spec.task.name, links, root, None, spec.wide.custom_context)}
    )


with_runcontext = RunContext


async def _run(task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Any:
    """Run a task on the cluster and return a live handle at once; the run goes on when this process ends.

    Args:
        task: What ``@env.task`` made, a handle of a deployed task from ``flyteray.remote.Task.get``, or one of a
            trigger from ``flyteray.remote.Trigger.get``, whose inputs need not be given.
        args: Its inputs, positional or
        kwargs: by name; any Python values, checked against the task's annotations here, and converted as Flyte does it:
            a dict for a dataclass, TypedDict or model, the name for a member of an enum. Arrays arrive read-only. What
            is larger than a megabyte goes by storage.

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


async def _rerun(
    run_name: str,
    /,
    action_name: str = ROOT,
    *,
    recover: bool = False,
    force_rerun_actions: Collection[str] | None = None,
    allow_missing_source_outputs: bool = False,
    **inputs: Any,
) -> Any:
    """Run again what a run, or an action of it, has run: the same task, code and inputs, or some of them changed.

    Args:
        run_name: The earlier run; it may have ended or not.
        action_name: The action to run again, with all below it, as the root of the new run. Default: the root.
        recover: Take what the earlier run's actions and traces have given, where they succeeded, instead of running
            them again. They are told by what they are: task, inputs, group and the place of the call.
        force_rerun_actions: Actions of it that are to run again all the same.
        allow_missing_source_outputs: Run again, without a word, what is no longer kept.
        inputs: Inputs in place of the earlier ones.

    Returns:
        The handle of the new run.

    Raises:
        TypeError: the name of the run is no str.
        RunNotFoundError: there is no such run.
        ValueError: the task has no such inputs, the run no such actions, or options that exclude each other, as
            ``recover`` and another action than the root.
        OutputNotFoundError: the inputs, or outputs that are to be recovered, are no longer kept; those of other
            actions than the root are where they have at most 16 MiB.
        NotImplementedError: in local mode.
    """
    return await RunContext().rerun.aio(
        run_name,
        action_name,
        recover=recover,
        force_rerun_actions=force_rerun_actions,
        allow_missing_source_outputs=allow_missing_source_outputs,
        **inputs,
    )


rerun = Verb(_rerun)
