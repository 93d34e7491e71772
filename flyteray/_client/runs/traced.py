"""Asking for a run is a span: what the run does is below it, and it is below what goes on in the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from flyteray._client.session.session import session
from flyteray._plan import failure
from flyteray._plan.spec import RunSpec
from flyteray._settings import Settings
from flyteray._traces.asked import are_asked
from flyteray._traces.process import tracing
from flyteray._traces.spans import Span, begin

_NAME = "flyteray.run"


@asynccontextmanager
async def asking(spec: RunSpec) -> AsyncIterator[RunSpec]:
    """Ask for a run of the cluster in here, by the spec that this gives."""
    if not session().is_connected:
        await asyncio.to_thread(session().connect)  # which tells whether there are traces
    span = _begun(spec)
    if span is None:
        yield spec
        return
    with _ended(span):
        yield spec.model_copy(update={"trace": span.carried()})


def tell_of_reuse(spec: RunSpec, run: str) -> None:
    """Tell that what a run has asked for was done already by another run."""
    if (span := _begun(spec)) is not None:
        span.tell({"flyteray.cached_from": run})
        span.end()


@contextmanager
def running_here(settings: Settings, run: str, task: str) -> Iterator[None]:
    """Run in this process in here, all of which is below the span."""
    if settings.traces and are_asked(settings.traces):
        tracing().begin_beside(settings.traces)
    span = begin(_NAME, "internal", {"flyteray.run": run, "flyteray.task": task})
    if span is None:
        yield
        return
    with _ended(span), span.inside():
        yield


def _begun(spec: RunSpec) -> Span | None:
    return begin(_NAME, "producer", {"flyteray.run": spec.name, "flyteray.task": spec.task.name})


@contextmanager
def _ended(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        described = failure.describe(error)
        span.fail(described.summary, described)
        raise
    finally:
        span.end()
