"""``flyteray.init_from_config`` and Flyte's other ways to begin: each of them ends in ``flyteray.init``."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flyteray._client.bridge import Verb
from flyteray._client.session.init import init
from flyteray._declare import context
from flyteray._logging import LogFormat, said_once
from flyteray._plan.bundle import bundle
from flyteray._plan.images.image import named
from flyteray.config import Config, auto
from flyteray.errors import InitializationError


@Verb
async def init_from_config(
    path_or_config: str | Path | Config | None = None,
    root_dir: str | Path | None = None,
    log_level: int | str | None = None,
    log_format: LogFormat = "console",
    user_log_level: int | str | None = None,
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    storage: str | Path | None = None,
    batch_size: int = 1000,
    image_builder: str | None = None,
    images: Iterable[str] | None = None,
    sync_local_sys_paths: bool = True,
) -> None:
    """Do what :func:`flyteray.init` does, with what a configuration file of Flyte says.

    The file's ``task`` section (org, project, domain) and ``image.image_refs`` are used; what reaches a Flyte backend
    means nothing on Ray. Options override the file, as do ``FLYTE_<SECTION>_<OPTION>`` variables.

    Args:
        path_or_config: The file (relative to ``root_dir``, where that is given), or what was read from one. Default:
            the first one that :func:`flyteray.config.get_config_file` finds; without any, nothing is configured and
            all runs on the local cluster. A file that is missing in a task or an app, for nobody has shipped it, says
            nothing there.
        org, project, domain: In place of the file's.
        images: ``["name=uri"]``, beside and before the file's.
        log_format: ``"console"`` or ``"json"``.
        batch_size, image_builder, sync_local_sys_paths: Mean nothing on Ray.
        root_dir, log_level, user_log_level, storage: As of :func:`flyteray.init`.

    Raises:
        InitializationError: The file that is named does not exist (``code`` is ``ConfigFileNotFoundError``), or one of
            its values is of a wrong kind.
        TypeError: An option of a wrong type.
    """
    config = _read_config(path_or_config, root_dir)
    platform = config.platform
    await init.aio(
        org=org or config.task.org,
        project=project or config.task.project,
        domain=domain or config.task.domain,
        root_dir=root_dir,
        log_level=log_level,
        log_format=None if log_format == "console" else log_format,
        user_log_level=user_log_level,
        storage=storage,
        batch_size=batch_size,
        image_builder=image_builder or config.image.builder or "local",
        images=config.image.image_refs | (named(images) if images else {}),
        image_registry=config.image.registry,
        sync_local_sys_paths=sync_local_sys_paths,
        source_config_path=config.source,
        endpoint=platform.endpoint,
        insecure=platform.insecure,
        insecure_skip_verify=platform.insecure_skip_verify,
        ca_cert_file_path=platform.ca_cert_file_path,
        auth_type=platform.auth_mode,
        command=platform.command,
        proxy_command=platform.proxy_command,
        client_id=platform.client_id,
        client_credentials_secret=platform.client_credentials_secret,
        rpc_retries=platform.rpc_retries,
        http_proxy_url=platform.http_proxy_url,
        disable_keyring=platform.disable_keyring,
        local_persistence=config.local.persistence,
        local_tracked=config.local.tracked,
        local_tracked_strict=config.local.tracked_strict,
    )


@Verb
async def init_from_api_key(
    api_key: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    root_dir: str | Path | None = None,
    log_level: int | str | None = None,
    log_format: LogFormat | None = None,
    storage: str | Path | None = None,
    batch_size: int = 1000,
    image_builder: str = "local",
    images: Mapping[str, str] | None = None,
    sync_local_sys_paths: bool = True,
    insecure_skip_verify: bool = False,
    ca_cert_file_path: str | None = None,
) -> None:
    """Do what :func:`flyteray.init` does, with the org of an API key of Flyte, of which nothing else is used.

    Args:
        api_key: The key. Default: ``FLYTE_API_KEY``.
        All others: as of :func:`flyteray.init`.

    Raises:
        InitializationError: There is no key; ``code`` is ``MissingApiKeyError``.
        ValueError: It is none of Flyte's.
    """
    key = api_key if api_key is not None else os.environ.get("FLYTE_API_KEY")
    if key is None:
        raise InitializationError(
            "MissingApiKeyError",
            "user",
            "There is no API key: give api_key=... or set FLYTE_API_KEY. On Ray nothing needs one: flyteray.init() "
            "begins without.",
        )
    endpoint, client_id, client_secret, org = _decode(key)
    await init.aio(
        org=None if org in ("", "None") else org,
        project=project,
        domain=domain,
        root_dir=root_dir,
        log_level=log_level,
        log_format=log_format,
        storage=storage,
        batch_size=batch_size,
        image_builder=image_builder,
        images=images,
        sync_local_sys_paths=sync_local_sys_paths,
        endpoint=endpoint,
        api_key=key,
        client_id=client_id,
        client_credentials_secret=client_secret,
        auth_type="ClientSecret",
        insecure_skip_verify=insecure_skip_verify,
        ca_cert_file_path=ca_cert_file_path,
    )


@Verb
async def init_in_cluster(
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    api_key: str | None = None,
    endpoint: str | None = None,
    insecure: bool = False,
) -> dict[str, Any]:
    """Do what :func:`flyteray.init` does, inside a task or an app. The cluster that it runs on is the one that is used.

    Args:
        org, project, domain: As of :func:`flyteray.init`. Default: those of the task or app.
        api_key, endpoint, insecure: Mean nothing on Ray.

    Returns:
        What was said of the way to a Flyte backend.
    """
    action = context.ctx().action
    await init.aio(
        org=org or (action.org if action else None),
        project=project or (action.project if action else None),
        domain=domain or (action.domain if action else None),
        api_key=api_key,
        endpoint=endpoint,
        insecure=insecure,
    )
    given = {"insecure": insecure, "api_key": api_key, "endpoint": endpoint}
    return {name: value for name, value in given.items() if value is not None}


@Verb
async def init_passthrough(
    endpoint: str | None = None,
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    insecure: bool = False,
) -> dict[str, Any]:
    """Do what :func:`flyteray.init` does. On Ray no backend needs the credentials of ``remote.auth_metadata``.

    Args:
        org, project, domain: As of :func:`flyteray.init`.
        endpoint, insecure: Mean nothing on Ray.

    Returns:
        What was said of the way to a Flyte backend.
    """
    await init.aio(
        org=org, project=project, domain=domain, endpoint=endpoint, insecure=insecure, auth_type="Passthrough"
    )
    return {"endpoint": endpoint, "insecure": insecure}


def _read_config(path_or_config: str | Path | Config | None, root_dir: str | Path | None) -> Config:
    if isinstance(path_or_config, Config):
        return path_or_config
    if path_or_config is None:
        found = auto()
        if found.source is None:
            said_once("There is no configuration file, so nothing is configured.")
        return found
    if not isinstance(path_or_config, (str, os.PathLike)):
        raise TypeError(f"init_from_config takes a path or a flyteray.config.Config, got {path_or_config!r}.")
    path = Path(root_dir or "").expanduser() / Path(path_or_config).expanduser()
    if bundle.active() and not path.is_file():
        said_once(f"{path} is not on the cluster; what it says was heard where the program was started.")
        return Config()
    return auto(path)


def _decode(key: str) -> list[str]:
    try:
        parts = base64.b64decode(key.encode(), validate=True).decode().rsplit(":", 3)
    except ValueError:
        parts = []
    if len(parts) != 4:
        # Not the key itself: it is a secret.
        raise ValueError(
            "This is no API key of Flyte: it must be the base64 of endpoint:client_id:client_secret:org."
        )
    return parts
