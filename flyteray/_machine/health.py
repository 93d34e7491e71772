"""The health of a server, asked for over HTTP."""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """The answer of a server to one question.

    ``status`` is that of HTTP, None where there is none. ``seen`` tells what the server does, as words that follow its
    name, and is empty where nothing listens.
    """

    status: int | None = None
    seen: str = ""
    speaks_http: bool = True

    @property
    def is_good(self) -> bool:
        """Whether the server takes requests: any status below 500 says so."""
        return self.status is not None and self.status < 500


def ask_health(host: str, port: int, path: str, timeout_s: float) -> Health:
    """Send one GET and wait for its answer, for ``timeout_s`` seconds."""
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
    return Health(status, f"answers GET {path} with status {status}")
