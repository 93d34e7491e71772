"""Whether this process makes spans: where the cluster's traces are asked for, or its user has a provider of tracers."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyteray._traces.asked import Variables, are_asked, variables_in
from flyteray._traces.export import Flusher, Sending
from flyteray._version import __version__
from flyteray.errors import InitializationError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

_API = "opentelemetry.trace"
_EXIT_S = 2.0  # for what is left when the process ends


def tracer() -> Tracer | None:
    """What makes spans here: of the user's own provider where there is one; None: none are made."""
    api = sys.modules.get(_API)
    if api is None:  # nobody has a provider, nor have we
        return None
    found = _provider(api)
    return None if found is None else _tracer(found)


class Tracing:
    """The traces of this process, as far as flyteray provides for them."""

    def __init__(self) -> None:
        self._variables: Variables = ()
        self._told: Mapping[str, str] = {}
        self._begun = False
        self._lock = threading.Lock()
        self.own: Sending | None = None
        self.flusher = Flusher(self._sending)

    def lend(self, variables: Variables, told: Mapping[str, str] | None = None) -> None:
        """Be told what the cluster asks for, before the user's code is there.

        ``told`` is what is told of the process in its traces, by names of OpenTelemetry.

        A process of flyteray's has these variables from now on, so that what the user sets up sends spans there, too.
        What its node or its environment says goes before.
        """
        self._variables, self._told = variables, told or {}
        for name, text in variables:
            os.environ.setdefault(name, text)

    def begin(self, service: str) -> None:
        """Make spans from now on if the cluster asks for it; the user's code is there, and may have a provider.

        ``service`` is as of :func:`~flyteray._traces.export.Sending`. Beginning again changes nothing.
        """
        if self._variables:
            self._begin(service, everybodys=True)

    def begin_beside(self, variables: Variables) -> None:
        """The same in a user's process, which gets neither variables nor a provider: one may still be set up."""
        if not self._variables:
            with as_variables(variables):
                self._begin(_script(), everybodys=False)

    def _begin(self, service: str, everybodys: bool) -> None:
        with self._lock:
            if self._begun:
                return
            self._begun = everybodys  # a user's process may still connect to a cluster that asks for more
            try:
                if not are_asked(variables_in(os.environ)):
                    return
                from opentelemetry import trace  # deferred: who asks for no traces does without it

                self._begun = True
                atexit.register(self.say_last_words)
                if _provider(trace) is None:
                    self.own = Sending(service, self._told)
                    if everybodys:
                        trace.set_tracer_provider(self.own.provider)
            except InitializationError as error:
                self._begun = True
                logger.warning("This process sends no traces: %s", error)

    def say_last_words(self) -> None:
        """Send what there is before the process ends; where none are made nothing is done."""
        if self._begun:
            self.flusher.now(_EXIT_S)

    def _sending(self) -> Any:
        api = sys.modules.get(_API)
        return self.own or (None if api is None else _provider(api))


@functools.cache
def tracing() -> Tracing:
    """This process's traces."""
    return Tracing()


def _provider(api: Any) -> Any:
    """The provider of this process, whoever has set it up; None: nobody has."""
    found = api.get_tracer_provider()
    if not isinstance(found, api.ProxyTracerProvider):
        return found
    own = tracing().own
    return None if own is None else own.provider


@functools.lru_cache(maxsize=2)
def _tracer(found: Any) -> Tracer:
    made: Tracer = found.get_tracer("flyteray", __version__)
    return made


def _script() -> str:
    name = Path(sys.argv[0] if sys.argv else "").stem
    return name if name and not name.startswith("-") else "python"


@contextmanager
def as_variables(variables: Variables) -> Iterator[None]:
    """Have variables meanwhile: OpenTelemetry reads them when a provider is made, and nowhere else."""
    lent = [(name, text) for name, text in variables if name not in os.environ]
    os.environ.update(lent)
    try:
        yield
    finally:
        for name, _ in lent:
            os.environ.pop(name, None)
