"""Apps are looked up, started, stopped and called by name."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Body, HTTPException, Query

from flyteray._client.session.auth import current_auth_metadata
from flyteray.app.extras._webhook.access import Allowed
from flyteray.remote import App, AppPhase

_TIMEOUT_S = 30.0
_WITH_BODY = {"POST", "PUT", "PATCH"}
_METHODS = {"GET", "DELETE", *_WITH_BODY}


async def get_app(name: str, allowed: Allowed) -> dict[str, Any]:
    """Where an app stands."""
    allowed.check_app(name, "get status of")
    app = await App.get.aio(name)
    return {**_state(app), "revision": app.revision}


async def activate_app(name: str, allowed: Allowed, wait: bool = False) -> dict[str, Any]:
    """Start an app that was stopped."""
    allowed.check_app(name, "activate")
    return _state(await (await App.get.aio(name)).activate.aio(wait=wait))


async def deactivate_app(name: str, allowed: Allowed, wait: bool = False) -> dict[str, Any]:
    """Stop an app."""
    allowed.check_app(name, "deactivate")
    return _state(await (await App.get.aio(name)).deactivate.aio(wait=wait))


async def call_app(
    name: str,
    allowed: Allowed,
    path: Annotated[str, Query(description="The path to ask for, such as /predict")],
    method: Annotated[str, Query(description="GET, POST, PUT, PATCH or DELETE")] = "GET",
    payload: Annotated[dict[str, Any] | None, Body()] = None,
    query_params: Annotated[dict[str, Any] | None, Body()] = None,
) -> Any:
    """Send a request to another app with the caller's credentials, and pass on what it answers."""
    import httpx  # deferred: replicas of every FastAPI app load this module, and it takes a sixth of a second

    allowed.check_app(name, "call")
    if method.upper() not in _METHODS:
        raise HTTPException(400, f"Cannot call by {method!r}: use one of {', '.join(sorted(_METHODS))}")
    if ".." in unquote(path).split("?")[0].split("/"):
        raise HTTPException(400, f"The path {path!r} leaves the app: say it without '..'")
    endpoint = (await App.get.aio(name)).endpoint
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = await client.request(
                method.upper(),
                f"{endpoint.rstrip('/')}/{path.lstrip('/')}",
                headers=list(current_auth_metadata()),
                params=query_params,
                json=payload if method.upper() in _WITH_BODY else None,
            )
    except httpx.HTTPError as error:
        raise HTTPException(
            500, f"App {name} could not be called: {type(error).__name__}: {error}"
        ) from error
    if answer.is_error:
        raise HTTPException(answer.status_code, f"Target app returned error: {answer.text}")
    try:
        return answer.json()
    except ValueError:
        return {"response": answer.text}


def _state(app: App) -> dict[str, Any]:
    phase = app.info.phase
    return {
        "name": app.name,
        "endpoint": app.endpoint,
        "url": app.url,
        "is_active": phase is AppPhase.ACTIVE,
        "is_deactivated": phase is AppPhase.STOPPED,
    }
