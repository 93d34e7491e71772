"""Secrets that nobody has created are taken from this process's environment, for the local cluster alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Sequence

from flyteray._client.session.session import session
from flyteray._declare.environment import Environment
from flyteray._declare.images.image import Image
from flyteray._logging import system_logger
from flyteray._plan.credentials import not_found, secret_specs, variable
from flyteray._plan.images.image import image_secrets
from flyteray._plan.spec import EnvironmentSpec, SecretSpec
from flyteray.errors import ImageBuildError, SecretNotFoundError


async def take_secrets(
    needed: Iterable[EnvironmentSpec], reached: Callable[[], Iterable[Environment]] = tuple
) -> None:
    """Give the local cluster the values that this process's environment has of secrets which nobody has created.

    They are kept as others are, encrypted, until the environment has others. A cluster that is not this machine's own
    is given none, nor is any by a process of the cluster itself, whose environment is that of whoever started it.

    Args:
        needed: The environments of what is to be started.
        reached: Tells the environments whose tasks its code may call: a secret that is not there for them may never be
            missed. It may read files.

    Raises:
        SecretNotFoundError: a secret of ``needed`` is neither kept nor in the environment.
    """
    required = [spec for env in needed for spec in (*env.secrets, *(env.image.secrets if env.image else ()))]
    if not await asyncio.to_thread(session().drives_local_cluster):
        return
    wanted = [*required, *_secrets_of(await asyncio.to_thread(reached))]
    if not wanted:
        return
    uncreated = set(await session().controller.secrets.uncreated([spec.name for spec in wanted]))
    found = {spec.name: variable(spec) for spec in wanted if os.environ.get(variable(spec))}
    values = {name: os.fsencode(os.environ[found[name]]) for name in found if name in uncreated}
    for name in await session().controller.secrets.take(values) if values else ():
        system_logger().warning(
            "Nobody has created secret %r, so the local cluster takes %s of this environment, and keeps it encrypted. "
            "`flyteray create secret %s` keeps a value of your own.",
            name,
            found[name],
            name,
        )
    if missing := [spec for spec in required if spec.name in uncreated - values.keys()]:
        known = [info.name for info in await session().controller.secrets.listall(None)]
        if missing := [spec for spec in missing if spec.name not in known]:
            raise secrets_not_found(missing, known)


def secrets_not_found(missing: Sequence[SecretSpec], known: Sequence[str]) -> SecretNotFoundError:
    """The error for secrets that are neither kept nor in the environment."""
    variables = " and ".join(dict.fromkeys(variable(spec) for spec in missing))
    names = list(dict.fromkeys(spec.name for spec in missing))
    return not_found(names, known, f", or set {variables} in the environment")


def _secrets_of(environments: Iterable[Environment]) -> list[SecretSpec]:
    specs: list[SecretSpec] = []
    for env in environments:
        specs += secret_specs(env.secret_list())
        if isinstance(env.image, Image):
            with contextlib.suppress(ImageBuildError):  # told to whoever uses it
                specs += image_secrets(env.image)
    return specs
