"""The server that an app version asks for."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from flyteray._plan.spec import AppSpec
from flyteray._serve.asgi import AsgiServer
from flyteray._serve.command import CommandServer
from flyteray._serve.function import FunctionServer
from flyteray._serve.hosting import Server
from flyteray._serve.parameters import Parameters
from flyteray._settings import Settings


def server_for(
    spec: AppSpec, app: Any, parameters: Parameters, sock: socket.socket, *, behind_ingress: bool
) -> Server:
    """What hosts an app. It may run user code: call it on a thread.

    Args:
        spec: The app version; its code is loaded.
        app: Its environment. The working directory is the folder of its code.
        parameters: Resolved, and their variables in this process's environment.
        sock: Bound where the app is to listen; it becomes the server's own, or is closed for it.
        behind_ingress: Whether nobody else connects to it: then a connection that is open is a request.
    """
    if spec.kind == "asgi":
        proxies = None if behind_ingress else Settings.load().trusted_proxies
        return AsgiServer(app.asgi_app(), sock, app.uvicorn_config, proxies)
    host, port = sock.getsockname()[:2]
    declared = spec.port or port  # 0 is no port of anybody's, so nothing that says 0 means it
    sock.close()  # held until here, so that no other replica was given the port
    if spec.kind == "function":
        return FunctionServer(
            app._server,
            parameters.arguments,
            declared=declared,
            host=host,
            port=port,
            behind_ingress=behind_ingress,
        )
    return CommandServer(
        spec.command,
        spec.environment.env_vars,
        Path.cwd(),
        declared=declared,
        host=host,
        port=port,
        health_path=spec.health_path,
        behind_ingress=behind_ingress,
    )
