"""What is asked of traces by the environment variables of OpenTelemetry. No effects here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from flyteray.errors import InitializationError

Variables = tuple[tuple[str, str], ...]
"""The variables of OpenTelemetry by name, as they travel: headers among them may hold a key."""

_PREFIX = "OTEL_"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DEFAULT = "http://localhost:4318"  # of OpenTelemetry
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS = "OTEL_TRACES_EXPORTER"
_OTLP = {"otlp", "otlp_proto_http"}
_OTHERS = {"none", "console", "logging", "zipkin"}  # which send nothing to an endpoint of OTLP
_SAMPLER, _ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_SAMPLERS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
_BY_PARENT = "parentbased_"


class Sampling(NamedTuple):
    """Which traces are recorded.

    Attributes:
        by_parent: Whether what a client has decided for its trace holds for what is done for it.
        share: The share of the others, from 0 to 1.
    """

    by_parent: bool = True
    share: float = 1.0


def variables_in(environ: Mapping[str, str]) -> Variables:
    """The variables of OpenTelemetry in an environment; empty ones count as missing."""
    found = ((name, text.strip()) for name, text in environ.items() if name.startswith(_PREFIX))
    return tuple(sorted((name, text) for name, text in found if text))


def are_asked(variables: Variables) -> bool:
    """Whether spans are to be sent to an endpoint of OTLP.

    Raises:
        InitializationError: they are, and what is said of the endpoint can't be.
    """
    said = dict(variables)
    named = next((name for name in _ENDPOINTS if name in said), None)
    exporters = {word.strip().lower() for word in said.get(_EXPORTERS, "").split(",")} - {""}
    if said.get("OTEL_SDK_DISABLED", "").lower() == "true" or (named is None and not exporters & _OTLP):
        return False
    if unknown := sorted(exporters - _OTLP - _OTHERS):
        raise _wrong(f"{_EXPORTERS} names {unknown[0]!r}: set it to otlp or none, or unset it.")
    if exporters and not exporters & _OTLP:
        return False
    if named is not None and not _is_url(said[named]):
        raise _wrong(
            f"{named} is {said[named]!r}: set it to the address of a collector, such as http://localhost:4318, or "
            "unset it."
        )
    protocol = next((name for name in _PROTOCOLS if name in said), None)
    if protocol is not None and said[protocol] != "http/protobuf":
        raise _wrong(
            f"{protocol} is {said[protocol]!r}, but flyteray sends traces by http/protobuf, for which collectors have "
            "a port of its own, mostly 4318: set it to that, and the endpoint to that port."
        )
    return True


def destination(variables: Variables) -> str:
    """Where spans are sent, without what may be secret in it."""
    said = dict(variables)
    parts = urlsplit(next((said[name] for name in _ENDPOINTS if name in said), _DEFAULT))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def sampling(variables: Variables) -> Sampling:
    """Which traces are recorded; all unless something else is said.

    Raises:
        InitializationError: a sampler that is not known here, or a share that is none.
    """
    said = dict(variables)
    name = said.get(_SAMPLER, "parentbased_always_on").lower()
    plain = name.removeprefix(_BY_PARENT)
    if plain not in _SAMPLERS:
        known = ", ".join(f"{prefix}{each}" for prefix in (_BY_PARENT, "") for each in _SAMPLERS)
        raise _wrong(f"{_SAMPLER} is {said[_SAMPLER]!r}: set it to one of {known}, or unset it.")
    share = _SAMPLERS[plain]
    return Sampling(name != plain, _share(said.get(_ARGUMENT, "1")) if share is None else share)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise _wrong(f"{_ARGUMENT} is {text!r}: set it to a number from 0 to 1, or unset it.")
    return share


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _wrong(message: str) -> InitializationError:
    return InitializationError("InitializationError", "user", message)
