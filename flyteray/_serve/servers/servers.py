"""An app version is given the server that its kind asks for, and the event loop that fits it."""

from __future__ import annotations

import asyncio
import functools
import socket
import sys
from pathlib import Path
from typing import Any

import uvloop

from flyteray._machine.grpc_health import ask_grpc_health
from flyteray._machine.health import AskHealth, ask_health, ask_port
from flyteray._plan.spec import AppSpec
from flyteray._serve.parameters.parameters import Parameters
from flyteray._serve.programs.command import CommandServer
from flyteray._serve.servers.asgi import AsgiServer
from flyteray._serve.servers.function import FunctionServer
from flyteray._serve.servers.hosting import Server
from flyteray._settings import Settings

_PROBE_S = 5.0  # for an answer; a program may take connections long before it answers


def health_of(spec: AppSpec) -> AskHealth:
    """How the server of an app is asked whether it takes requests.

    A program that speaks HTTP/1.1 is asked for a path; a function is well that takes connections.
    """
    if spec.protocol == "h2c":
        return functools.partial(ask_grpc_health, timeout_s=_PROBE_S)
    if spec.kind == "command":
        return functools.partial(ask_health, path=spec.health_path, timeout_s=_PROBE_S)
    return ask_port


def loop_for(spec: AppSpec, app: Any) -> asyncio.AbstractEventLoop:
    """Make the event loop that an app's hooks and its server run on; its code is loaded.

    It is uvloop's under flyteray's own server, as under uvicorn. It is asyncio's for functions, which would have it by
    :func:`asyncio.run`, where the app's ``uvicorn_config`` asks for it, and where its code patches asyncio's.
    """
    config = getattr(app, "uvicorn_config", None)
    asked_for = config is not None and config.loop == "asyncio"
    if spec.kind in ("asgi", "serve") and not asked_for and "nest_asyncio" not in sys.modules:
        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def server_for(
    spec: AppSpec,
    app: Any,
    parameters: Parameters,
    sock: socket.socket,
    *,
    behind_ingress: bool,
    python: Path | None = None,
) -> Server:
    """Make the server of an app whose code is loaded, whose parameters are published, in its working directory.

    It may run user code: call it on a thread. ``sock`` is bound where the app is to listen; it becomes the server's own
    or is closed for it. ``behind_ingress`` says that only the ingress connects to it: then a connection that is open is
    a request. A program finds the packages of ``python``, by default this process's.
    """
    proxies = None if behind_ingress else Settings.load().trusted_proxies
    if spec.kind == "serve":
        # deferred: other apps need no Ray Serve
        from flyteray._serve.compositions.entry import Entry, EntryServer

        return EntryServer(Entry(app.app, local=not behind_ingress), sock, proxies)
    if spec.kind == "asgi":
        return AsgiServer(app.asgi_app(), sock, app.uvicorn_config, proxies)
    host, port = sock.getsockname()[:2]
    declared = spec.port or port  # 0 is no port of any server's
    sock.close()  # held until here, so that no other replica was given the port
    if spec.kind == "function":
        return FunctionServer(
            app._server,
            parameters.arguments,
            declared=declared,
            host=host,
            port=port,
            behind_ingress=behind_ingress,
            ask=health_of(spec),
            speaks_grpc=spec.protocol == "h2c",
        )
    return CommandServer(
        spec.command,
        spec.environment.env_vars,
        Path.cwd(),
        declared=declared,
        host=host,
        port=port,
        ask=health_of(spec),
        behind_ingress=behind_ingress,
        python=python,
    )
