"""Spans leave a process in batches, on threads of their own: nobody waits for who takes them, or fails with it."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from flyteray._version import __version__
from flyteray.errors import InitializationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

logger = logging.getLogger(__name__)

_PACKAGE = "opentelemetry.exporter.otlp.proto.http"
_LOOK_S = 0.02
_GATHERING_S = 0.2  # for spans to be sent together: each sending takes as long as a short action
_IN_VAIN_S = 0.2  # for who has taken nothing to be there again
_DELAY = "OTEL_BSP_SCHEDULE_DELAY"
_DELAY_MS = (
    1000.0  # unless that says another one: a worker may be ended sooner than OpenTelemetry's five seconds
)


def check_installed() -> None:
    """Make sure that there is what sends spans.

    Raises:
        InitializationError: it is not installed.
    """
    try:
        found = importlib.util.find_spec(_PACKAGE)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise InitializationError(
            "InitializationError",
            "user",
            "An endpoint for traces is configured, but nothing that sends them is installed: "
            "pip install 'flyteray[otel]' on all nodes of the cluster, or set OTEL_TRACES_EXPORTER=none.",
        )


class Sending:
    """A provider of tracers whose spans are sent as the environment variables of this process say.

    Args:
        service: What the process is called in traces, unless the variables say it.
        told: More that is told of the process, by the names of OpenTelemetry.
        ids: Where spans get their identifiers from; None: by chance.
        sampler: Which are recorded; None: as the variables say.

    Attributes:
        provider: The provider.

    Raises:
        InitializationError: what sends spans is not installed, or can't be as the variables say.
    """

    def __init__(
        self,
        service: str,
        told: Mapping[str, str] | None = None,
        ids: IdGenerator | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        check_installed()
        # deferred: it takes a tenth of a second, and is an extra
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        try:
            resource = Resource.create({"flyteray.version": __version__, **(told or {})})
            if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
                resource = resource.merge(Resource({"service.name": service}))
            self._exporter = _Quiet(OTLPSpanExporter())
            self.provider = TracerProvider(
                resource=resource, sampler=sampler, id_generator=ids, shutdown_on_exit=False
            )
            delay = None if os.environ.get(_DELAY) else _DELAY_MS
            processor = BatchSpanProcessor(cast("SpanExporter", self._exporter), schedule_delay_millis=delay)
        except ValueError as error:  # of numbers that it can't do with
            raise InitializationError(
                "InitializationError",
                "user",
                f"OpenTelemetry refuses what its environment variables say: {str(error).rstrip('.')}. Set right those "
                "that begin with OTEL_ where the cluster is started, or unset them.",
            ) from error
        self.provider.add_span_processor(processor)

    @property
    def fails(self) -> bool:
        """Whether nobody takes spans at the moment."""
        return self._exporter.fails

    def force_flush(self) -> None:
        """Send the spans that have ended."""
        self.provider.force_flush()


class _Quiet:
    """An exporter that tells once that nobody takes its spans, where OpenTelemetry's would for each batch."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._hushed = _Hushed()
        logging.getLogger(type(exporter).__module__).addFilter(self._hushed)

    @property
    def fails(self) -> bool:
        return self._hushed.has_told

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._hushed.here():
            result = self._exporter.export(spans)
        if result.name == "SUCCESS":
            self._hushed.has_told = False
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Hushed(logging.Filter):
    """Has what is logged on the thread that exports said once, and no more until it ``has_told`` that that is over."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()
        self.has_told = False

    @contextmanager
    def here(self) -> Iterator[None]:
        """Keep back what this thread logs in here."""
        self._thread.exports = True
        try:
            yield
        finally:
            self._thread.exports = False

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(self._thread, "exports", False):
            return True
        if not self.has_told:
            self.has_told = True
            logger.warning("Traces can't be sent, and are left out until they can: %s", record.getMessage())
        return False


class Flusher:
    """Has spans sent that have ended, on a thread that is started when it is first needed.

    ``sending`` gives what has them, a :class:`Sending` or a user's provider of tracers, which may come later.
    """

    def __init__(self, sending: Callable[[], Any]) -> None:
        self._sending = sending
        self._change = threading.Condition()
        self._asked = self._urgent = self._done = 0
        self._process = 0  # a copy that user code has forked has no such thread

    def soon(self) -> None:
        """Have them sent beside what goes on, within a moment: together with those that end until then."""
        with self._change:
            self._ask()

    def now(self, timeout_s: float) -> None:
        """Have them sent, and wait for that so many seconds at most; not for long where nobody takes them."""
        began = time.monotonic()
        with self._change:
            asked = self._urgent = self._ask()
            self._change.notify_all()
            while self._done < asked:
                fails = getattr(self._sending(), "fails", False)
                if time.monotonic() > began + (min(_IN_VAIN_S, timeout_s) if fails else timeout_s):
                    return
                self._change.wait(_LOOK_S)

    def _ask(self) -> int:
        if self._process != os.getpid():
            self._process = os.getpid()
            threading.Thread(target=self._work, name="flyteray-traces", daemon=True).start()
        if self._asked == self._done:
            self._change.notify_all()  # who is asked already needs no waking
        self._asked += 1
        return self._asked

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._asked > self._done)
                self._change.wait_for(lambda: self._urgent > self._done, _GATHERING_S)
                asked = self._asked
            flush = getattr(self._sending(), "force_flush", None)
            if flush is not None:
                try:
                    flush()
                except Exception as error:  # noqa: BLE001  # it may be a user's
                    logger.warning("Traces could not be sent: %r", error)
            with self._change:
                self._done = asked
                self._change.notify_all()
