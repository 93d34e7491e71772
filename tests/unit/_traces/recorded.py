"""Spans of this process, kept for a test to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from flyteray._traces.export import Sending
from flyteray._traces.process import tracing


@contextlib.contextmanager
def recorded(sampler: Sampler | None = None) -> Iterator[InMemorySpanExporter]:
    """What becomes of the spans that this process makes in here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before, tracing().own = tracing().own, cast("Sending", SimpleNamespace(provider=provider))
    try:
        yield exporter
    finally:
        tracing().own = before
        provider.shutdown()
