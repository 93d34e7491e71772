"""Parameters may name apps that nobody serves: serving warns of them, before the first call fails."""

from __future__ import annotations

from collections.abc import Iterable

from flyteray._client.bridge import warn_caller
from flyteray._client.session.session import session
from flyteray._declare.near import did_you_mean
from flyteray._plan.spec import AppSpec


async def warn_of_unknown_apps(specs: Iterable[AppSpec]) -> None:
    """Warn of parameters that name an app which is neither on the cluster nor among ``specs``.

    It is no error: apps that call one another are served one after the other.
    """
    planned = list(specs)
    asked = [
        (spec.name, parameter.name, parameter.value)
        for spec in planned
        for parameter in spec.parameters
        if parameter.kind == "app_endpoint" and parameter.value and "://" not in parameter.value
    ]
    if not asked:
        return
    served = await session().controller.apps.listall()
    known = {info.name for info in served} | {spec.name for spec in planned}
    for app, parameter, wanted in asked:
        if wanted not in known:
            warn_caller(
                f"Parameter {parameter!r} of app {app!r} is the endpoint of {wanted!r}, and there is no such app yet: "
                f"its URL answers 404 until there is.{did_you_mean(wanted, known - {app})}"
            )
