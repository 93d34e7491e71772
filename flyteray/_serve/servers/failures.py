"""A failure after an answer's end leaves the connection: the next request may be on its way on it."""

from __future__ import annotations

import logging

from flyteray._serve.servers.forwarded import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("uvicorn.error")


def with_connections_kept(app: ASGIApp) -> ASGIApp:
    """Wrap an ASGI application so that what it raises after an answer is logged and cuts nothing.

    Frameworks raise an error again that they have answered with status 500, and work that runs after an answer may
    fail. uvicorn closes the connection then, and does not say so in the answer: the ingress may have sent another
    request there, which is lost with it.
    """

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except Exception as error:
            # uvicorn's own state of an answer, in all of its protocols for HTTP
            if not getattr(getattr(send, "__self__", None), "response_complete", False):
                raise
            logger.error("Exception in ASGI application\n", exc_info=error)

    return keep
