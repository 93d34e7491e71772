"""Changes lead the ingress from one state to another while it serves: commands for HAProxy's runtime API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from flyteray._ingress.haproxy import maps
from flyteray._ingress.routes import ELSEWHERE, IngressState, Slot

K = TypeVar("K")
V = TypeVar("V")

_ANY_NUMBER = 1_000_000  # with 0, which says so as well, HAProxy leaves those waiting that wait already
_FORCED_MAINTENANCE, _FORCED_DRAIN = 0x01, 0x08  # bits of HAProxy's srv_admin_state


def changes(old: IngressState, new: IngressState) -> list[str]:
    """The commands that lead from ``old`` to ``new`` and lose no request, in this order.

    New replicas take requests before a route points to them; a replica leaves after no route points to it. One that
    leaves takes no new requests from then on, and what it has open goes on until either side ends it.
    Running the commands twice does no harm.
    """
    before, after = maps.entries(old), maps.entries(new)
    return [
        # An app that asks for keys is never without that: it comes before all else of it and goes after its route.
        *_set(maps.PRIVATE, before[maps.PRIVATE], after[maps.PRIVATE]),
        *_protocols(old, new),
        *_arrivals(old, new),
        *_crowds(old, new),
        *_routes(before, after),
        *_removed(maps.PRIVATE, before[maps.PRIVATE], after[maps.PRIVATE]),
        *_departures(old, new),
    ]


def observed(shown: Mapping[str, str], server_lines: str) -> IngressState:
    """What HAProxy does, from its answers to ``show map`` by map and to ``show servers state``."""
    content = {
        # Each line starts with the entry's address in memory.
        file: maps.parse("\n".join(line.partition(" ")[2] for line in lines.splitlines()))
        for file, lines in shown.items()
    }
    return maps.state(content, _observed_backends(server_lines))


def _observed_backends(server_lines: str) -> dict[int, dict[int, Slot]]:
    columns: list[str] = []
    backends: dict[int, dict[int, Slot]] = {}
    for line in server_lines.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            columns = words[1:]
        elif columns and len(words) == len(columns):
            row = dict(zip(columns, words, strict=True))
            is_out = int(row["srv_admin_state"]) & (_FORCED_MAINTENANCE | _FORCED_DRAIN)
            is_replica = row["srv_name"] not in maps.ACTIVATORS and maps.is_backend(row["be_name"])
            if is_replica and not is_out:
                slots = backends.setdefault(maps.backend_number(row["be_name"]), {})
                slots[maps.slot_of(row["srv_name"])] = Slot(row["srv_addr"], int(row["srv_port"]))
    return backends


def _protocols(old: IngressState, new: IngressState) -> list[str]:
    """How the activator is spoken to from now on, where no replica takes a request."""
    commands = []
    for backend in sorted(old.http2 ^ new.http2):
        names = reversed(maps.ACTIVATORS) if backend in new.http2 else maps.ACTIVATORS
        for name, state in zip(names, ("ready", "maint"), strict=True):
            commands.append(f"set server {maps.backend_name(backend)}/{name} state {state}")
    return commands


def _arrivals(old: IngressState, new: IngressState) -> list[str]:
    commands = []
    for backend in sorted(_other(old.backends, new.backends)):
        before = old.slots(backend)
        for slot, address in sorted(new.backends[backend].items()):
            if before.get(slot) == address:
                continue
            server = _server(backend, slot)
            host = f"[{address.host}]" if ":" in address.host else address.host
            commands += [
                f"add server {server} {host}:{address.port} {maps.options(slot, new.most(backend))}",
                f"set server {server} addr {address.host} port {address.port}",
                *_limited([(backend, slot)], new),  # it may have been there for another app
                f"enable health {server}",
                # What was known of a replica that was there says nothing about this one.
                f"set server {server} {'health up' if slot in before else 'state ready'}",
            ]
    return commands


def _crowds(old: IngressState, new: IngressState) -> list[str]:
    """How many requests the replicas take from now on that stay where they are."""
    others = sorted(backend for backend in new.backends if old.most(backend) != new.most(backend))
    return _limited(
        [
            (backend, slot)
            for backend in others
            for slot in sorted(new.slots(backend))
            if slot in old.slots(backend)
        ],
        new,
    )


def _limited(slots: Iterable[tuple[int, int]], state: IngressState) -> list[str]:
    return [
        f"set maxconn server {_server(backend, slot)} {state.most(backend) or _ANY_NUMBER}"
        for backend, slot in slots
        if slot < ELSEWHERE
    ]


def _routes(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]) -> list[str]:
    # What is said of an app comes after the app and goes before it: an interrupted change leaves nothing unseen.
    of_apps = [file for file in maps.FILES if file not in (maps.APPS, maps.PRIVATE)]
    return [
        *(command for file in of_apps for command in _removed(file, old[file], new[file])),
        *_set(maps.APPS, old[maps.APPS], new[maps.APPS]),
        *_removed(maps.APPS, old[maps.APPS], new[maps.APPS]),
        *(command for file in of_apps for command in _set(file, old[file], new[file])),
    ]


def _set(file: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    commands = []
    for key in sorted(_other(old, new)):
        value = new[key]
        if key not in old:
            # An entry left by an interrupted change would come first and win.
            commands += [f"del map {file} {key}", f"add map {file} {key} {value}"]
        else:
            commands.append(f"set map {file} {key} {value}")
    return commands


def _removed(file: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    return [f"del map {file} {key}" for key in sorted(old.keys() - new.keys())]


def _departures(old: IngressState, new: IngressState) -> list[str]:
    return [
        f"set server {_server(backend, slot)} state maint"
        for backend in sorted(_other(new.backends, old.backends))
        for slot in sorted(old.backends[backend].keys() - new.slots(backend).keys())
    ]


def _other(old: Mapping[K, V], new: Mapping[K, V]) -> list[K]:
    """The keys for which the new one has something else."""
    return [key for key, value in new.items() if key not in old or old[key] != value]


def _server(backend: int, slot: int) -> str:
    return f"{maps.backend_name(backend)}/{maps.server_name(backend, slot)}"
