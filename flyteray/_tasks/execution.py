"""A worker executes an action: it loads the code, binds the context, runs the user's function, gives the result."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib.util
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import ray

from flyteray import _logging
from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._cluster import nodes
from flyteray._cluster.workers import launch
from flyteray._cluster.workers import secrets as process_secrets
from flyteray._cluster.workers.code import Workplace, activate, load_code
from flyteray._declare import context
from flyteray._declare.facts import ActionID, CodeBundle, RawDataPath
from flyteray._declare.tasks.task import Task
from flyteray._declare.this_cluster import ENDPOINT_PATTERN
from flyteray._machine.alarms import alarms
from flyteray._plan import failure
from flyteray._plan.actions.limits import Expiry, Limits
from flyteray._plan.actions.links import links_of
from flyteray._plan.actions.reports import KeptReport
from flyteray._plan.bundle import pickles
from flyteray._plan.bundle.bundle import bundle_key
from flyteray._plan.cache.call import cached_call, contents
from flyteray._plan.cache.results import Found
from flyteray._plan.info import ActionPhase, ErrorInfo
from flyteray._plan.spec import Caching, CodeRef, SecretSpec
from flyteray._plan.triggers.artifacts import published
from flyteray._plan.values import inputs, pickling
from flyteray._plan.values.kept_outputs import KeptOutputs
from flyteray._plan.values.outputs import as_outputs, as_value, exits_well
from flyteray._plan.values.pickling import Own, Payload, in_storage, inline, input_key
from flyteray._report.report import unseen
from flyteray._tasks.batches.batch import LATE_S, Batch, Told
from flyteray._tasks.batches.sender import Sender
from flyteray._tasks.call import ActionFailed, Call, SecretName
from flyteray._tasks.children import Children
from flyteray._tasks.events import Recorder
from flyteray._tasks.forks import ForkExit
from flyteray._tasks.host import host, on_rays_thread
from flyteray._tasks.logs import LogKeeper
from flyteray._tasks.results.reuse import Reuse
from flyteray._tasks.submission import Submitter
from flyteray._tasks.timeouts.ending import end_processes
from flyteray._traces.process import tracing
from flyteray._traces.spans import Span
from flyteray.io.artifacts import versions_in
from flyteray.io.checkpoint import Checkpoint
from flyteray.storage import open_storage, tensors

Outputs = tuple[tuple[Any, ...], int]


class Worker:
    """A worker process between its actions, which are all of one environment and one bundle."""

    def __init__(self, env_vars: tuple[tuple[str, str], ...], secrets: tuple[SecretName, ...]) -> None:
        self._find_ingress()
        ask(controller().storage.prove(ray.get_runtime_context().get_node_id()))
        os.environ["FLYTERAY_STORAGE"] = self.cluster.storage  # for the processes that the user's code starts
        if self.cluster.traces:
            tracing().lend(self.cluster.traces)
        asked = [
            SecretSpec(key=key, group=group, env_var=variable, mount=mount)
            for key, group, variable, mount in secrets
        ]
        wins = {secret.env_var for secret in asked}
        self._env_vars = {name: value for name, value in env_vars if name not in wins}
        self._secrets = process_secrets.of_worker(asked)
        if self._env_vars.get(_logging.RESET) == "1":
            _logging.configure(reset_root_logger=True, environ={**os.environ, **self._env_vars})
        self.recorder = Recorder()
        self._logs = LogKeeper(self.cluster.storage)
        host().last_words = self._say_last_words
        self._reuse = Reuse(self.cluster.storage)

    def _say_last_words(self) -> None:
        """Tell what there is to tell before this process is ended."""
        self.recorder.flush()
        self._logs.keep_last_words()
        tracing().say_last_words()

    def _find_ingress(self) -> None:
        self._seen_at = -_STAYS_S
        self.cluster = ask(controller().info(nodes.own_address()))
        os.environ[ENDPOINT_PATTERN] = self.cluster.pattern_for_code

    def _has_ingress(self) -> bool:
        """Whether this machine has its ingress still: while nothing runs here it may leave, but not at once."""
        if time.monotonic() - self._seen_at < _STAYS_S:
            return True
        self._seen_at = time.monotonic()
        near = urlsplit(self.cluster.near_pattern or "")
        if near.hostname is None or near.port is None:
            return True
        try:
            socket.create_connection((near.hostname, near.port), _REACH_S).close()
        except OSError:
            return False
        return True

    def run(self, call: Call, arguments: Payload) -> Outputs:
        """Run the user's function, or find its result; its outputs, and how many bytes of them are in storage.

        Raises ActionFailed where the user's code could not be loaded, raised, or returned a value of a wrong type.
        """
        began = time.time()
        reused: str | None = None
        self.recorder.add(call, ActionPhase.RUNNING, began, inputs=inline(arguments) if call.parent else None)
        limits = Limits(*call.limits)
        if call.limits:  # somebody may ask soon, of the dead as well
            self.recorder.flush()
        log = self._logs.begin(call)
        report: KeptReport | None = None
        span: Span | None = None
        children: Children | None = None
        expiry = limits.of_running(call.task, began) if call.limits else None
        try:
            if not self._has_ingress():
                self._find_ingress()
            launch.settle({**self._env_vars, context.ATTEMPT_NUMBER: str(call.attempt)})
            self._secrets.deliver()
            workplace = _workplace(call.bundle)
            try:
                if workplace is not None:
                    workplace.enter()
                _be_script(call.module)
                task: Task[..., Any] = _load(call.bundle, call.module, call.name)
                _be_script(call.module)
                span = _span(call, began)
                if call.parent and in_storage(arguments):
                    pickling.store(arguments, self.cluster.storage, input_key(call.run, call.action))
                if task.links and not call.links:  # of a deployed one its caller has none
                    links = links_of(
                        task.name, task.links, _action(call), call.parent, dict(call.inherited.custom_context)
                    )
                    call = call._replace(links=tuple(links.items()))
                given = pickling.load(arguments)
                if call.unchecked:
                    given = inputs.bind(task, (), given, here=True)
                    call = call if call.cached else _with_cached(call, task, given)
                with self._found(call) as found:
                    if found is None:
                        report = self._report(call, task)
                        children = self._children(call)
                        with _limited(expiry):
                            returned = self._call_function(call, task, given, children, report, span)
                            value = inputs.check_output(task, returned)
                        children.deliver()
                        if call.publishes:
                            _publish(call, as_outputs(task, value), given)
                        result = self._outputs(call, task, value)
                    else:
                        reused = found.entry.run
                        result = found.outputs, self._reuse.take(call, found)
            finally:
                if workplace is not None and host().is_alone:
                    workplace.tidy()
        except BaseException as error:  # noqa: BLE001  # whatever users raise travels as a value
            span = span or _span(call, began)
            if host().is_cancelled:
                if host().is_alone:
                    end_processes(since=began)
                if not host().is_timed_out:
                    _end(report, ActionPhase.ABORTED)
                    if span is not None:
                        span.fail("It was cancelled.")
                    raise KeyboardInterrupt from None  # what Ray expects of a cancelled task
            phase, info = _failure(error, expiry)
            _end(report, phase, info.summary)
            if span is not None:
                span.fail(info.summary, info)
            self.recorder.add(call, phase, began, info.summary)
            if children is not None:
                children.deliver()
            raise ActionFailed(info, phase) from None
        else:
            _end(report, ActionPhase.SUCCEEDED)
            if span is not None:
                span.tell({"flyteray.cached_from": reused})
        finally:
            self._logs.end(log)
            if span is not None:
                span.end()
                tracing().flusher.soon()
        self.recorder.add(call, ActionPhase.SUCCEEDED, began, cached=reused)
        return result

    def _found(self, call: Call) -> AbstractContextManager[Found | None]:
        """The result of an action, where it is there; who calls with inputs that it knows has looked for it."""
        if not call.unchecked:
            return contextlib.nullcontext()
        found = self._reuse.find(call)
        return self._reuse.alone(call) if found is None and call.is_serial else contextlib.nullcontext(found)

    def _outputs(self, call: Call, task: Task[..., Any], value: Any) -> Outputs:
        """Write the value of an action to storage, and for equal calls too where its task asks for it."""
        outputs = as_outputs(task, value)
        kept = _kept(self.cluster.storage, call.run)
        size = kept.write(call.action, outputs, alone=bool(call.cached))
        self._reuse.keep(call, task, outputs)
        return outputs, size

    def _report(self, call: Call, task: Task[..., Any]) -> KeptReport | None:
        """The report of an attempt; None where its task makes none."""
        if not task.report:
            return None
        folder = f"{self.cluster.storage}/runs/{call.run}"
        return KeptReport(
            task.name, call.run, call.action, call.attempt + 1, functools.partial(open_storage, folder)
        )

    def _call_function(
        self,
        call: Call,
        task: Task[..., Any],
        arguments: dict[str, Any],
        children: Children,
        report: KeptReport | None,
        span: Span | None,
    ) -> Any:
        bound = contextvars.copy_context()
        if span is not None:
            bound.run(span.enter)
        if call.parent is None:
            # Before user code makes it, which would open it to others.
            open_storage(f"{self.cluster.storage}/runs/{call.run}/{call.action}").make_folder()
        bound.run(context.runtime.set, children)
        bound.run(context.custom.set, dict(call.inherited.custom_context))
        promised = context.PromisedContext(functools.partial(self._context, call, report))
        bound.run(context.task_context.set, promised)
        function = functools.partial(task.func, **arguments)
        try:
            with ForkExit():
                return bound.run(host().drive, function) if task.is_async else bound.run(function)
        except SystemExit as error:
            if exits_well(task, error):
                return None
            raise
        finally:
            children.confirm()

    def _children(self, call: Call) -> Children:
        """The children of an attempt, which has none yet."""
        return Children(
            call, self.recorder, _submitter(), _sender(), self.cluster.storage, self._data_folder(call)
        )

    def _data_folder(self, call: Call) -> str:
        """The folder of the files that an action makes."""
        root = call.inherited.raw_data_path or f"{self.cluster.storage}/runs"
        return f"{root}/{call.run}/{call.action}/data"

    def _context(self, call: Call, report: KeptReport | None) -> context.TaskContext:
        """The facts that the code of an attempt may ask for."""
        inherited, folder = call.inherited, f"{self.cluster.storage}/runs/{call.run}"
        shipped = _shipped(call.bundle, self.cluster.storage)
        return context.TaskContext(
            action=_action(call),
            mode="remote",
            attempt_number=call.attempt,
            version=call.version,
            raw_data_path=RawDataPath(self._data_folder(call)),
            report=report or unseen(),
            output_path=f"{folder}/{call.action}",
            run_base_dir=folder,
            code_bundle=shipped,
            interactive_mode=shipped is not None and shipped.pkl is not None,
            disable_run_cache=Caching(*inherited.caching).disabled,
            run_start_time=_utc(inherited.started),
            checkpoint=Checkpoint(f"{folder}/{call.action}/checkpoint"),
        )


def _span(call: Call, began: float) -> Span | None:
    """The span of an attempt, whose code is there; None where there are no traces."""
    tracing().begin(call.task.rpartition(".")[0])
    return call.span(began)


def _publish(call: Call, outputs: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Have the artifacts among the outputs of an action kept."""
    parents = versions_in(given.values())
    if made := published(outputs, call.run, call.action, dict(call.produces), parents):
        ask(controller().artifacts.publish(made))


def _with_cached(call: Call, task: Task[..., Any], arguments: dict[str, Any]) -> Call:
    """A call, once its inputs are known, as the one whose result may be kept."""
    spec = call.cache_spec
    named = contents(task, arguments, spec, call.caching)
    if spec is None or named is None:
        return call
    return call._replace(cached=tuple(cached_call(task, named, spec, call.caching, call.owner)))


def _limited(expiry: Expiry | None) -> AbstractContextManager[None]:
    """Run the user's function in here until its time is up, where that is limited."""
    return contextlib.nullcontext() if expiry is None else _until(expiry)


@contextlib.contextmanager
def _until(expiry: Expiry) -> Iterator[None]:
    """Run the user's function in here until its time is up; an end that comes too late is none."""
    with host().limited(expiry.at - time.time(), str(expiry.error)):
        yield
    if host().is_timed_out:
        raise expiry.error


def _failure(error: BaseException, expiry: Expiry | None) -> tuple[ActionPhase, ErrorInfo]:
    """The phase that an attempt ends in for an error, and why: it may be the interrupt when its time was up."""
    if expiry is None or not host().is_timed_out:
        return ActionPhase.FAILED, failure.describe(error)
    return ActionPhase.TIMED_OUT, failure.describe(expiry.error.with_traceback(error.__traceback__))


def _end(report: KeptReport | None, phase: ActionPhase, problem: str = "") -> None:
    if report is not None:
        report.end(phase, problem)


_made = functools.cache(Worker)
_making = functools.cache(threading.Lock)


def _worker(env_vars: tuple[tuple[str, str], ...], secrets: tuple[SecretName, ...]) -> Worker:
    with _making():  # of a warm process several calls may be the first
        return _made(env_vars, secrets)


def _be_script(name: str) -> None:
    """Make a module the script of its process: ``__main__``, and the one word of its command line."""
    module = sys.modules.get(name)
    sys.modules["__main__"] = _NO_SCRIPT if module is None else module
    sys.argv = [getattr(module, "__file__", None) or _file(name)]


@functools.cache
def _file(name: str) -> str:
    """The file of a module that is still to be imported: it may look at its command line already."""
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError, AttributeError):
        return name  # importing it says why
    return (spec.origin if spec else None) or name


_STAYS_S = 1.0  # an ingress that was there is there still: it leaves a machine that has been idle for longer
_REACH_S = 1.0  # for the ingress of this machine to take a connection
_NO_SCRIPT = ModuleType("__main__")  # at a prompt there is none either


@functools.cache
def _workplace(bundle: str) -> Workplace | None:
    """The workplace of a bundle's actions; worked out once, not once per call."""
    code = activate(bundle)
    return None if code is None else Workplace(code)


@functools.lru_cache(maxsize=1024)
def _load(bundle: str, module: str, name: str) -> Any:
    """The task of a call: finding it looks at the disk, which is done once, not once per call."""
    return load_code(CodeRef(bundle=bundle, module=module, name=name))


@functools.lru_cache(maxsize=64)
def _kept(storage: str, run: str) -> KeptOutputs:
    """The outputs of a run; where they are is worked out once, not once per call."""
    return KeptOutputs(storage, run)


def _action(call: Call) -> ActionID:
    return ActionID(call.action, call.run, *call.owner)


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


@functools.cache
def _shipped(bundle: str, storage: str) -> CodeBundle | None:
    """A bundle as users are told of it; None where nothing was shipped."""
    code = activate(bundle)
    if code is None:
        return None
    place, by_value = f"{storage}/{bundle_key(bundle)}", _is_by_value(bundle)
    return CodeBundle(
        bundle,
        destination=str(code),
        downloaded_path=code,
        tgz=None if by_value else place,
        pkl=place if by_value else None,
    )


@functools.cache
def _is_by_value(bundle: str) -> bool:
    """Whether a bundle holds tasks by value, and so maybe classes of what they return."""
    code = activate(bundle)
    return code is not None and (code / pickles.FILE).exists()


def _to_ray(bundle: str, value: Any) -> Any:
    """A value for Ray to pickle, which copies tensors and makes classes that travel by value anew."""
    return Own(value) if tensors.are_there() or _is_by_value(bundle) else value


@functools.cache
def _submitter() -> Submitter:
    """The submitter of the children of this process's actions."""
    return Submitter(execute)


@functools.cache
def _sender() -> Sender:
    """The sender of those children of this process's actions that travel together."""
    return Sender(Submitter(execute_batch, num_returns="streaming"))


def execute(packed: bytes, buffers: Payload | None = None) -> Any:
    """Execute a child action: its value goes to the parent through Ray, as :func:`pickling.returning` gives it."""
    return host().run(_execute, packed, buffers)


def execute_root(packed: bytes, buffers: Payload | None = None) -> tuple[tuple[Any, ...] | Own, int]:
    """Execute the root action of a run: returns its outputs, and how many bytes of them are in storage."""
    return host().run(_execute_root, packed, buffers)


@on_rays_thread
def execute_batch(packed: bytes) -> Iterator[Told]:
    """Execute child actions one after the other, and tell of them when all have ended, or when that is late."""
    batch = Batch(packed, execute_call, lambda: _load.cache_info().misses)
    alarm = alarms().after(LATE_S, host().waits.recheck)
    try:
        for _ in host().run_until(batch.run, batch.is_late, batch.give_back):
            if batch.is_late():
                batch.give_back()
                yield batch.take()
    except KeyboardInterrupt:
        yield batch.take()
        raise
    finally:
        alarm.cancel()
    yield batch.take()


def _execute(packed: bytes, buffers: Payload | None) -> Any:
    return pickling.returning(execute_call(*Call.unpack(packed, buffers)))


def _execute_root(packed: bytes, buffers: Payload | None) -> tuple[tuple[Any, ...] | Own, int]:
    return execute_root_call(*Call.unpack(packed, buffers))


def execute_call(call: Call, arguments: Payload) -> Any:
    """Execute a child action on this thread, which is the user's."""
    outputs, _ = _worker(call.env_vars, call.secrets).run(call, arguments)
    return _to_ray(call.bundle, as_value(outputs))


def execute_root_call(call: Call, arguments: Payload) -> tuple[tuple[Any, ...] | Own, int]:
    """Execute the root action of a run on this thread, which is the user's."""
    worker = _worker(call.env_vars, call.secrets)
    try:
        outputs, size = worker.run(call, arguments)
    finally:
        worker.recorder.flush()
    return _to_ray(call.bundle, outputs), size
