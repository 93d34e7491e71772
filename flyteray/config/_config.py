"""Configuration is read from files and ``FLYTE_<SECTION>_<OPTION>`` environment variables."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from flyteray.config._file import ConfigFile, get_config_file, git_root
from flyteray.errors import InitializationError

S = TypeVar("S", bound="_Section")

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a text")


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in (*_TRUE, *_FALSE):
        return value.strip().lower() in _TRUE
    raise ValueError("true or false")


def _words(value: Any) -> list[str]:
    """A list of texts, or in a variable JSON or a command line."""
    return _listed(value, shlex.split)


def _names(value: Any) -> list[str]:
    """A list of texts, or in a variable JSON or names with commas or blanks between them."""
    return _listed(value, lambda text: [name for name in re.split(r"[,\s]+", text) if name])


def _listed(value: Any, split: Callable[[str], list[str]]) -> list[str]:
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else split(value)
    if isinstance(value, list):
        return [str(each) for each in value]
    raise ValueError("a list of texts")


def _uris(value: Any) -> dict[str, str]:
    """Names and URIs, or in a variable JSON or ``name=uri`` with commas between them."""
    if isinstance(value, str):
        if value.lstrip().startswith("{"):
            value = json.loads(value)
        else:
            pairs = [each.strip().partition("=") for each in value.split(",") if each.strip()]
            value = {name if mark else "default": uri if mark else name for name, mark, uri in pairs}
    if isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair):
        return dict(value)
    raise ValueError("names and URIs")


class _Option(NamedTuple):
    """A setting: its key in the file, how a value is read, names of variables that go before the one of the key."""

    key: str
    read: Callable[[Any], Any] = _text
    names: tuple[str, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        return *self.names, f"FLYTE_{self.key.upper().replace('.', '_')}"


def _option(
    key: str, read: Callable[[Any], Any] = _text, *names: str, default: Any = None, factory: Any = None
) -> Any:
    """The field of a setting."""
    metadata = {"option": _Option(key, read, names)}
    return (
        field(default_factory=factory, metadata=metadata)
        if factory
        else field(default=default, metadata=metadata)
    )


@dataclass(frozen=True)
class _Section:
    @classmethod
    def auto(cls: type[S], config_file: str | Path | ConfigFile | None = None) -> S:
        """The settings of variables, else of the file, else the defaults; errors and files as in :func:`auto`."""
        return cls._of(get_config_file(config_file))

    @classmethod
    def _of(cls: type[S], file: ConfigFile | None) -> S:
        found = {each.name: _said(each.metadata["option"], file) for each in fields(cls) if each.metadata}
        return cls(**{name: value for name, value in found.items() if value is not None})


def _said(option: _Option, file: ConfigFile | None) -> Any:
    where = next((name for name in option.variables if os.environ.get(name)), None)
    value = os.environ[where] if where else file.get(option.key) if file else None
    if value is None or value == "":
        return None
    try:
        return option.read(value)
    except ValueError as error:
        # The words of the readers above; JSON has its own.
        kind = "JSON" if isinstance(error, json.JSONDecodeError) else error
        source = where or f"{option.key} in {file.path if file else ''}"
        raise InitializationError(
            "InitializationError", "user", f"{source} is {value!r}: it must be {kind}."
        ) from None


def _client_secret(file: ConfigFile | None) -> str | None:
    """The secret of a backend's client: in the variable or the file that is named."""
    variable = _said(_Option("admin.clientSecretEnvVar"), file)
    place = _said(_Option("admin.clientSecretLocation"), file)
    if variable and os.environ.get(variable):
        return os.environ[variable]
    return Path(place).read_text().strip() if place and Path(place).is_file() else None


@dataclass(frozen=True)
class PlatformConfig(_Section):
    """The way to a Flyte backend. It means nothing on Ray; it is there for programs that look at it."""

    endpoint: str | None = _option("admin.endpoint")
    insecure: bool = _option("admin.insecure", _switch, default=False)
    insecure_skip_verify: bool = _option("admin.insecureSkipVerify", _switch, default=False)
    ca_cert_file_path: str | None = _option("admin.caCertFilePath")
    console_endpoint: str | None = _option("console.endpoint")
    command: list[str] | None = _option("admin.command", _words, "FLYTE_AUTH_COMMAND")  # noqa: RUF009 # makes a field
    proxy_command: list[str] | None = _option("admin.proxyCommand", _words, "FLYTE_AUTH_PROXY_COMMAND")  # noqa: RUF009 # makes a field
    client_id: str | None = _option("admin.clientId")
    client_credentials_secret: str | None = field(default=None, repr=False)
    scopes: list[str] = _option("admin.scopes", _names, factory=list)  # noqa: RUF009 # makes a field
    auth_mode: str = _option("admin.authType", _text, "FLYTE_AUTH_TYPE", default="Pkce")
    audience: str | None = None
    rpc_retries: int = 3
    http_proxy_url: str | None = _option("admin.httpProxyURL")
    disable_keyring: bool = _option("admin.disableKeyring", _switch, default=False)

    @classmethod
    def _of(cls, file: ConfigFile | None) -> PlatformConfig:
        found = super()._of(file)
        secret = _client_secret(file)
        return found.replace(client_credentials_secret=secret, auth_mode="ClientSecret") if secret else found

    def replace(self, **changes: Any) -> PlatformConfig:
        """A copy with other values."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def for_endpoint(cls, endpoint: str, insecure: bool = False) -> PlatformConfig:
        """The settings of a backend with nothing else said."""
        return cls(endpoint=endpoint, insecure=insecure)


@dataclass(frozen=True)
class TaskConfig(_Section):
    """The owner of tasks, as :func:`flyteray.current_project` and ``current_domain`` tell it."""

    org: str | None = _option("task.org")
    project: str | None = _option("task.project")
    domain: str | None = _option("task.domain")


@dataclass(frozen=True)
class ImageConfig(_Section):
    """The names of images: ``image_refs`` tells what ``Image.from_ref_name(name)`` stands for.

    ``builder`` and ``registry`` mean nothing on Ray, whose nodes make images ready themselves.
    """

    builder: str | None = _option("image.builder")
    image_refs: dict[str, str] = _option("image.image_refs", _uris, factory=dict)  # noqa: RUF009 # makes a field
    registry: str | None = _option("image.registry")


@dataclass(frozen=True)
class LocalConfig(_Section):
    """Flyte's records of local runs. They mean nothing on Ray."""

    persistence: bool = _option("local.persistence", _switch, default=False)
    tracked: bool = _option("local.tracked", _switch, default=False)
    tracked_strict: bool = _option("local.tracked_strict", _switch, default=False)


@dataclass(frozen=True)
class Config:
    """All that is configured; ``source`` is the file that it comes from, None without one."""

    platform: PlatformConfig = field(default_factory=PlatformConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    local: LocalConfig = field(default_factory=LocalConfig)
    source: Path | None = None

    def with_params(
        self,
        platform: PlatformConfig | None = None,
        task: TaskConfig | None = None,
        image: ImageConfig | None = None,
    ) -> Config:
        """A copy with other parts."""
        return dataclasses.replace(
            self, platform=platform or self.platform, task=task or self.task, image=image or self.image
        )

    @classmethod
    def auto(cls, config_file: str | Path | ConfigFile | None = None) -> Config:
        """The settings of variables, else of the file, else the defaults; see :func:`auto`."""
        file = get_config_file(config_file)
        return cls(
            platform=PlatformConfig._of(file),
            task=TaskConfig._of(file),
            image=ImageConfig._of(file),
            local=LocalConfig._of(file),
            source=file.path if file else None,
        )


def auto(config_file: str | Path | ConfigFile | None = None) -> Config:
    """The configuration: ``FLYTE_<SECTION>_<OPTION>`` variables first, then a file, then the defaults.

    Args:
        config_file: The file, or where it is. Default: the first one that there is; see :func:`get_config_file`.

    Raises:
        InitializationError: the file that is named does not exist, or a value is of another kind than its setting has.
    """
    return Config.auto(config_file)


def config_from_root(path: str | Path = ".flyte/config.yaml") -> Config | None:
    """The configuration by a file below the root of the working directory's git repository; None: there is none.

    Args:
        path: Where the file is, below the root.
    """
    root = git_root(Path.cwd())
    file = root / path if root else None
    return auto(file) if file and file.is_file() else None
