"""The entries of the access log are made of requests that have ended, and told apart by app. No effects here."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from flyteray._ingress.haproxy import maps
from flyteray._ingress.routes import MOST, IngressState, short_name
from flyteray._ingress.seen.lines import Ended

_WHO = {
    "C": "the client left",
    "c": "the client was silent for too long",
    "S": "the replica broke off",
    "s": "the replica was silent for too long",
    "P": "the ingress refused it",
    "R": "the ingress lacked resources",
    "I": "the ingress failed",
    "D": "the replica was marked down",
    "K": "it was ended from outside",
    "L": "the ingress answered itself",
    "U": "the replica came back",
}
_WHEN = {
    "R": " before the request was there",
    "Q": " while it waited for a replica with room",
    "C": " while a replica was being reached",
    "H": " before the answer began",
    "D": " during the answer",
    "L": " during the last bytes of the answer",
    "T": " while the request was handled",
}


def backend(request: Ended, state: IngressState) -> int | None:
    """The backend that a request is of; None where the ingress has answered itself."""
    came = request.backend in (maps.COMING, maps.COMING_HTTP2)
    return _came(request, state) if came else _numbered(request.backend)


def _came(request: Ended, state: IngressState) -> int | None:
    """The backend of a request that began to wait when its app had none: it was handed on to the first."""
    return state.apps.get(request.app)


@lru_cache(maxsize=MOST)
def _numbered(name: str) -> int | None:
    return maps.backend_number(name) if maps.is_backend(name) else None


@lru_cache(maxsize=256)
def ended(termination: str) -> str:
    """How a request ended, in words: ``completed``, or who ended it and when."""
    if termination[0] == "-":
        return "completed"
    who = _WHO.get(termination[0], termination)
    return who if termination[0] == "L" else who + _WHEN.get(termination[1], "")


class Answerer(NamedTuple):
    """Who has answered a request, as far as that is known: a replica of a version of an app, or only an app's rules."""

    app: str | None
    backend: str | None = None
    version: str | None = None
    replica: str | None = None


def answerer(request: Ended, state: IngressState) -> Answerer:
    """Who has answered a request."""
    of = backend(request, state)
    if of is None:
        return Answerer(request.app if request.app in state.apps else None)
    name = maps.backend_name(of)
    app = state.owners.get(of, request.app)
    return Answerer(app, name, state.names.get(name), _replica(request, name, state))


def entry(request: Ended, state: IngressState) -> str:
    """The entry of a request: a JSON object without line breaks, whose app comes first.

    It is put together by hand, as there is one for each request: ``json.dumps`` takes three times as long.
    """
    app, name, version, replica = answerer(request, state)
    (bytes_in, bytes_out), (queue, connect) = request.sizes, request.waits
    whole, answered = request.whole_us, request.fate.is_answered
    first = request.latency_us if answered else None
    return (
        f'{{"app":{_text(app)},"time":"{time(request.over_us)}","version":{_text(version)},"backend":{_text(name)},'
        f'"replica":{_text(replica)},"key":{_said(request.user)},"client":"{request.client}",'
        f'"method":{_said(request.method)},"path":{_said(request.path)},'
        f'"status":{request.status if answered else "null"},"bytes_in":{bytes_in},"bytes_out":{bytes_out},'
        f'"queue_ms":{queue if queue[0] != "-" else "null"},"connect_ms":{connect if connect[0] != "-" else "null"},'
        f'"first_byte_ms":{"null" if first is None else first / 1000},'
        f'"whole_ms":{"null" if whole is None else whole / 1000},'
        f'"ended":"{ended(request.termination)}","request_id":{_said(request.id)}}}'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring_ascii(value)


def _said(value: str) -> str:
    return "null" if value == "-" else encode_basestring_ascii(value)


def time(at_us: int) -> str:
    """A time, in microseconds since 1970, as entries have it."""
    return f"{_second(at_us // 1_000_000)}.{at_us // 1000 % 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def begins(app: str) -> bytes:
    """What the entries of an app begin with."""
    return f'{{"app":{_text(app)},'.encode()


def _replica(request: Ended, backend: str, state: IngressState) -> str | None:
    """The replica that has answered: its id, or how HAProxy calls it before the id was told; None: nobody knows."""
    server = request.server if request.served == "-" else request.served
    if (named := state.names.get(f"{backend}/{server}")) is not None:
        return named
    if server in (*maps.ACTIVATORS, "<NOSRV>"):
        return None
    server = short_name(maps.slot_of(server))
    return state.names.get(f"{backend}/{server}", server)
