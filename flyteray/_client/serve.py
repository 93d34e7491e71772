"""``flyteray.serve``: bring an app up."""

from __future__ import annotations

from flyteray._client.app import App
from flyteray._client.bridge import Verb
from flyteray._client.session import session
from flyteray._plan import apps, code
from flyteray.app.environment import AppEnvironment


async def _serve(app_env: AppEnvironment) -> App:
    """Bring an app up and return its handle when it serves; it stays up when this process ends.

    Apps that it depends on come first. Serving unchanged code again restarts nothing; a changed version takes over
    when all of its replicas are ready, and no request is lost.

    Args:
        app_env: What to serve.

    Raises:
        TypeError: not an app environment.
        DeploymentError: a replica could not start; the user's exception is the cause. The version that served before
            goes on serving.
        ParameterMaterializationError: an output that a parameter names does not exist.
    """
    if not isinstance(app_env, AppEnvironment):
        raise TypeError(
            f"flyteray.serve serves an AppEnvironment, not {app_env!r}. To run a task, use flyteray.run."
        )
    ordered = apps.in_order(app_env)
    for env in ordered:
        ref, bundle = code.ship(env)
        spec = apps.app_spec(env, ref)
        await session().upload(bundle)
        served = App(await session().call("serve", spec))
        await served._wait()
    return served


serve = Verb(_serve)
