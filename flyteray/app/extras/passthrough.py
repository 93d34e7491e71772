"""A request's credentials are passed on to the apps that its handler calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flyteray._client.session.auth import auth_metadata

logger = logging.getLogger(__name__)

HeaderExtractor: TypeAlias = Callable[[Request], tuple[str, str] | None]


class FastAPIPassthroughAuthMiddleware:
    """Runs each HTTP request inside :func:`flyteray.remote.auth_metadata` with the credentials that it brings.

    ``api.add_middleware(FastAPIPassthroughAuthMiddleware, excluded_paths={"/health"})``. A request without any is
    answered by 401. The credentials are passed on, not checked. WebSockets go through as they are. A key that
    ``flyteray create key`` made arrives only where the environment says ``forward_key=True``.

    Args:
        app: The application behind it.
        header_extractors: Functions from a request to a header's name and value, or None. One that raises is logged
            and counts as None. Default: the ``Authorization`` and ``Cookie`` headers.
        excluded_paths: Paths, as the application sees them, that need no credentials.
    """

    def __init__(
        self,
        app: ASGIApp,
        header_extractors: Sequence[HeaderExtractor] | None = None,
        excluded_paths: Collection[str] | None = None,
    ) -> None:
        self._app = app
        self._extractors = (
            [self.extract_authorization_header, self.extract_cookie_header]
            if header_extractors is None
            else list(header_extractors)
        )
        self._excluded = frozenset(excluded_paths or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or self._path(scope) in self._excluded:
            await self._app(scope, receive, send)
            return
        pairs = self._extract(Request(scope))
        if not pairs:
            refusal = JSONResponse(
                {"detail": "Authentication credentials required"}, 401, {"WWW-Authenticate": "Bearer"}
            )
            await refusal(scope, receive, send)
            return
        with auth_metadata(*pairs):
            await self._app(scope, receive, send)

    @staticmethod
    def extract_authorization_header(request: Request) -> tuple[str, str] | None:
        """The ``Authorization`` header."""
        return _header(request, "authorization")

    @staticmethod
    def extract_cookie_header(request: Request) -> tuple[str, str] | None:
        """The ``Cookie`` header."""
        return _header(request, "cookie")

    @staticmethod
    def extract_custom_header(name: str) -> HeaderExtractor:
        """An extractor of another header."""
        return lambda request: _header(request, name.lower())

    def _path(self, scope: Scope) -> str:
        path: str = scope["path"]
        return path.removeprefix(scope.get("root_path", ""))

    def _extract(self, request: Request) -> list[tuple[str, str]]:
        pairs = []
        for extractor in self._extractors:
            try:
                pair = extractor(request)
            except Exception:  # a user's function: it may raise anything
                logger.warning("The header extractor %r failed; it is skipped.", extractor, exc_info=True)
                continue
            if pair is not None:
                pairs.append(pair)
        return pairs


def _header(request: Request, name: str) -> tuple[str, str] | None:
    value = request.headers.get(name)
    return None if value is None else (name, value)
