"""``flyteray.init`` says where to run, and what a process remembers until it needs it."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyteray import _logging, _place
from flyteray._client.bridge import Verb
from flyteray._client.session.session import session
from flyteray._logging import LogFormat, said_once
from flyteray._plan.images.image import REFERENCES, named
from flyteray._settings import Settings

_TEXT, _PATH, _SWITCH, _NUMBER, _WORDS = (str,), (str, os.PathLike), (bool,), (int,), (list, tuple)

# The options by the types of their values. Those of logs and of images are checked where they are used.
_USED = {_TEXT: "org project domain address database", _PATH: "root_dir storage"}
# Flyte reaches its backend by these, builds its images or records what runs beside it.
_WITHOUT_MEANING = {
    _TEXT: "endpoint auth_type api_key client_id client_credentials_secret http_proxy_url image_builder image_registry",
    _PATH: "ca_cert_file_path source_config_path",
    _SWITCH: "headless insecure insecure_skip_verify disable_keyring sync_local_sys_paths "
    "load_plugin_type_transformers local_persistence local_tracked local_tracked_strict",
    _NUMBER: "rpc_retries batch_size",
    _WORDS: "command proxy_command",
    (object,): "auth_client_config",
}


@Verb
async def init(
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    root_dir: str | Path | None = None,
    log_level: int | str | None = None,
    log_format: LogFormat | None = None,
    reset_root_logger: bool = False,
    user_log_level: int | str | None = None,
    endpoint: str | None = None,
    headless: bool = False,
    insecure: bool = False,
    insecure_skip_verify: bool = False,
    ca_cert_file_path: str | None = None,
    auth_type: str = "Pkce",
    command: list[str] | None = None,
    proxy_command: list[str] | None = None,
    api_key: str | None = None,
    client_id: str | None = None,
    client_credentials_secret: str | None = None,
    auth_client_config: Any = None,
    rpc_retries: int = 3,
    http_proxy_url: str | None = None,
    disable_keyring: bool = False,
    storage: str | Path | None = None,
    batch_size: int = 1000,
    image_builder: str = "local",
    images: Mapping[str, str] | Iterable[str] | None = None,
    image_registry: str | None = None,
    source_config_path: str | Path | None = None,
    sync_local_sys_paths: bool = True,
    load_plugin_type_transformers: bool = True,
    local_persistence: bool = False,
    local_tracked: bool = False,
    local_tracked_strict: bool = False,
    *,
    address: str | None = None,
    database: str | None = None,
) -> None:
    """Say where to run and what to remember. Nothing is started or connected before a verb needs it.

    What an earlier call said is forgotten. Options of Flyte that are not explained here reach a Flyte backend: they
    are accepted, and mean nothing on Ray.

    Args:
        org: What :func:`flyteray.ctx` tells tasks as their action's ``org``.
        project: What :func:`flyteray.current_project` tells, here and in what is started from here. Ray has no
            projects: all runs and apps of a cluster are in one place.
        domain: What :func:`flyteray.current_domain` tells; see ``project``.
        root_dir: The folder that code is shipped from: on the cluster all files keep their places below it. Modules
            are imported from it as well. Default: each module is placed by its name, below the folder that it is
            imported from.
        log_level: Of ``flyteray.system_logger``, a number or a name. Default: ``LOG_LEVEL``, else WARNING.
        log_format: ``"console"``, lines for people, or ``"json"``. Default: ``LOG_FORMAT``, else ``"console"``.
        reset_root_logger: Give the root logger flyteray's form, and ``log_level``, in place of what it has.
        user_log_level: Of ``flyteray.logger``. Default: ``USER_LOG_LEVEL``, else INFO.
        storage: Where bundles, outputs and files are kept: a path or a URL (``s3://bucket/prefix``), of which every
            node finds the same, see :func:`flyteray.storage.open_storage`. Takes effect when flyteray first starts on
            a cluster. Default: ``storage/`` under ``FLYTERAY_HOME``.
        images: What ``Image.from_ref_name(name)`` stands for: ``{"name": "uri"}`` or ``["name=uri"]``, where a URI
            alone is that of ``"default"``.
        address: A Ray cluster, as ``ray.init`` takes it (``"auto"``, ``"10.0.0.1:6379"``). Default: the
            ``RAY_ADDRESS`` environment variable, inside a Ray job that job's cluster, else a local cluster in the
            background. Not of Flyte.
        database: SQLAlchemy URL of the registry. Takes effect as ``storage`` does. Default: an SQLite file in the
            storage root, or under ``FLYTERAY_HOME`` when storage is remote. Not of Flyte.

    Raises:
        TypeError: An option of a wrong type.
        ValueError: One of the images is a name without a URI; no log level or log format; no path or URL of a storage.
        ClusterError: Another ``address`` than that of the cluster which this process has connected to.
    """
    said = {name: value for name, value in locals().items() if value != _DEFAULTS[name]}
    for types, names in (*_USED.items(), *_WITHOUT_MEANING.items()):
        for name in names.split():
            _check(name, said.get(name), types)
    if log_format not in (None, "console", "json"):
        raise ValueError(f'flyteray.init: log_format must be "console" or "json", got {log_format!r}.')
    _logging.configure(
        log_level=None if log_level is None else _logging.level("log_level", log_level),
        user_log_level=None if user_log_level is None else _logging.level("user_log_level", user_log_level),
        log_format=log_format,
        reset_root_logger=reset_root_logger,
    )
    ignored = " ".join(_WITHOUT_MEANING.values()).split()
    for name in said:
        if name in ignored:
            said_once(f"{name} has no meaning on Ray and changes nothing.")
    if address:
        session().check_address(address)
    if images:
        # Workers inherit it.
        os.environ[REFERENCES] = ",".join(f"{name}={uri}" for name, uri in _images(images).items())
    folder = Path(root_dir).expanduser().absolute() if root_dir else None
    if folder and str(folder) not in sys.path:
        sys.path.append(str(folder))
    settings = Settings.load()
    session().configure(
        replace(
            settings,
            address=address or settings.address,
            storage=_place.root(str(storage)) if storage else settings.storage,
            database=database or settings.database,
            root_dir=folder,
            org=org or settings.org,
            project=project or settings.project,
            domain=domain or settings.domain,
        )
    )


_DEFAULTS = {name: option.default for name, option in inspect.signature(init).parameters.items()}


def _check(name: str, value: object, types: tuple[type, ...]) -> None:
    if value is not None and not isinstance(value, types):
        wanted = " or ".join("path" if kind is os.PathLike else kind.__name__ for kind in types)
        raise TypeError(f"flyteray.init: {name} must be a {wanted}, got {value!r}.")


def _images(images: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    if not isinstance(images, Mapping):
        return named([images] if isinstance(images, str) else images)
    for name, uri in images.items():
        if not isinstance(name, str) or not isinstance(uri, str):
            raise TypeError(f"flyteray.init: images must map names to URIs, got {name!r}: {uri!r}.")
    return dict(images)
