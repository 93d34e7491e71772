"""From one state of the ingress to another while it serves: commands for HAProxy's runtime API."""

from __future__ import annotations

from flyteray._ingress.config import APPS_MAP, STOPPED, backend_name, route, slot_name
from flyteray._ingress.routes import IngressState, Slot

_FORCED_MAINTENANCE, _FORCED_DRAIN = 0x01, 0x08  # bits of HAProxy's srv_admin_state


def changes(old: IngressState, new: IngressState) -> list[str]:
    """The commands that lead from ``old`` to ``new`` and lose no request, in this order.

    New replicas take requests before a route points to them; a replica leaves after no route points to it. One that
    leaves takes no new requests from then on, and what it has open goes on until either side ends it.
    Running the commands twice does no harm.
    """
    return [*_arrivals(old, new), *_routes(old, new), *_departures(old, new)]


def observed(map_lines: str, server_lines: str) -> IngressState:
    """What HAProxy does, from its answers to ``show map`` and ``show servers state``."""
    apps: dict[str, int | None] = {}
    for line in map_lines.splitlines():
        words = line.split()
        if len(words) == 3:
            apps[words[1]] = None if words[2] == STOPPED else int(words[2].removeprefix("b"))
    return IngressState(apps=apps, backends=_observed_backends(server_lines))


def _observed_backends(server_lines: str) -> dict[int, dict[int, Slot]]:
    columns: dict[str, int] = {}
    backends: dict[int, dict[int, Slot]] = {}
    for line in server_lines.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            columns = {name: position for position, name in enumerate(words[1:])}
        elif columns and len(words) == len(columns):
            if int(words[columns["srv_admin_state"]]) & (_FORCED_MAINTENANCE | _FORCED_DRAIN):
                continue
            backend = int(words[columns["be_name"]].removeprefix("b"))
            slot = int(words[columns["srv_name"]].removeprefix("s"))
            address = Slot(words[columns["srv_addr"]], int(words[columns["srv_port"]]))
            backends.setdefault(backend, {})[slot] = address
    return backends


def _arrivals(old: IngressState, new: IngressState) -> list[str]:
    commands = []
    for backend in sorted(new.backends):
        before = old.slots(backend)
        for slot, address in sorted(new.backends[backend].items()):
            if before.get(slot) == address:
                continue
            server = _server(backend, slot)
            commands.append(f"set server {server} addr {address.host} port {address.port}")
            if slot in before:
                # What was known of the replica before says nothing about this one.
                commands.append(f"set server {server} health up")
            else:
                commands.append(f"set server {server} state ready")
    return commands


def _routes(old: IngressState, new: IngressState) -> list[str]:
    commands = []
    for app, backend in sorted(new.apps.items()):
        if app not in old.apps:
            # An entry left by an interrupted change would come first and win.
            commands += [f"del map {APPS_MAP} {app}", f"add map {APPS_MAP} {app} {route(backend)}"]
        elif old.apps[app] != backend:
            commands.append(f"set map {APPS_MAP} {app} {route(backend)}")
    commands += [f"del map {APPS_MAP} {app}" for app in sorted(old.apps.keys() - new.apps.keys())]
    return commands


def _departures(old: IngressState, new: IngressState) -> list[str]:
    return [
        f"set server {_server(backend, slot)} state maint"
        for backend in sorted(old.backends)
        for slot in sorted(old.backends[backend].keys() - new.slots(backend).keys())
    ]


def _server(backend: int, slot: int) -> str:
    return f"{backend_name(backend)}/{slot_name(slot)}"
