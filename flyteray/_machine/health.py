"""The health of a server, asked for over HTTP or by a connection."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """What a server says to one question: whether it ``answers`` at all, and that it takes requests (``is_good``).

    ``seen`` tells what the server does, as words that follow its name, and is empty where nothing listens.
    """

    answers: bool = False
    is_good: bool = False
    seen: str = ""
    speaks_http: bool = True


AskHealth = Callable[[str, int], Health]
"""Asks what listens on a host and a port."""


def ask_health(host: str, port: int, path: str, timeout_s: float) -> Health:
    """Send one GET and wait for its answer, for ``timeout_s`` seconds: any status below 500 is a good one."""
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=timeout_s)) as connection:
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except TimeoutError:
            return Health(seen=f"takes connections but has not answered GET {path} within {timeout_s:g} s")
        except OSError:
            return Health()
        except http.client.HTTPException as error:
            return Health(seen=f"does not speak HTTP: {type(error).__name__}: {error}", speaks_http=False)
    return Health(answers=True, is_good=status < 500, seen=f"answers GET {path} with status {status}")


def ask_port(host: str, port: int, timeout_s: float = 1.0) -> Health:
    """Connect: who takes connections is well."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return Health(answers=True, is_good=True, seen="takes connections")
    except OSError:
        return Health()
