"""What configuration files and ``FLYTE_<SECTION>_<OPTION>`` environment variables say."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

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


@dataclass(frozen=True)
class _Section:
    _options: ClassVar[Mapping[str, _Option]] = {}

    @classmethod
    def auto(cls: type[S], config_file: str | Path | ConfigFile | None = None) -> S:
        """What variables say, else the file, else the defaults.

        Args:
            config_file: The file, or where it is. Default: the first one that there is.

        Raises:
            InitializationError: a value of another kind than its setting has.
        """
        return cls._of(get_config_file(config_file))

    @classmethod
    def _of(cls: type[S], file: ConfigFile | None) -> S:
        found = {name: _said(option, file) for name, option in cls._options.items()}
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
    """That of a backend's client: in the variable or the file that is named."""
    variable = _said(_Option("admin.clientSecretEnvVar"), file)
    place = _said(_Option("admin.clientSecretLocation"), file)
    if variable and os.environ.get(variable):
        return os.environ[variable]
    return Path(place).read_text().strip() if place and Path(place).is_file() else None


@dataclass(frozen=True)
class PlatformConfig(_Section):
    """How a Flyte backend is reached. It means nothing on Ray; it is kept for programs that look at it."""

    _options: ClassVar = {
        "endpoint": _Option("admin.endpoint"),
        "insecure": _Option("admin.insecure", _switch),
        "insecure_skip_verify": _Option("admin.insecureSkipVerify", _switch),
        "ca_cert_file_path": _Option("admin.caCertFilePath"),
        "console_endpoint": _Option("console.endpoint"),
        "command": _Option("admin.command", _words, ("FLYTE_AUTH_COMMAND",)),
        "proxy_command": _Option("admin.proxyCommand", _words, ("FLYTE_AUTH_PROXY_COMMAND",)),
        "client_id": _Option("admin.clientId"),
        "scopes": _Option("admin.scopes", _names),
        "auth_mode": _Option("admin.authType", _text, ("FLYTE_AUTH_TYPE",)),
        "http_proxy_url": _Option("admin.httpProxyURL"),
        "disable_keyring": _Option("admin.disableKeyring", _switch),
    }

    endpoint: str | None = None
    insecure: bool = False
    insecure_skip_verify: bool = False
    ca_cert_file_path: str | None = None
    console_endpoint: str | None = None
    command: list[str] | None = None
    proxy_command: list[str] | None = None
    client_id: str | None = None
    client_credentials_secret: str | None = field(default=None, repr=False)
    scopes: list[str] = field(default_factory=list)
    auth_mode: str = "Pkce"
    audience: str | None = None
    rpc_retries: int = 3
    http_proxy_url: str | None = None
    disable_keyring: bool = False

    @classmethod
    def _of(cls, file: ConfigFile | None) -> PlatformConfig:
        found = super()._of(file)
        secret = _client_secret(file)
        return found.replace(client_credentials_secret=secret, auth_mode="ClientSecret") if secret else found

    def replace(self, **changes: Any) -> PlatformConfig:
        """The same with other values."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def for_endpoint(cls, endpoint: str, insecure: bool = False) -> PlatformConfig:
        """That of a backend with nothing else said."""
        return cls(endpoint=endpoint, insecure=insecure)


@dataclass(frozen=True)
class TaskConfig(_Section):
    """Whose tasks they are: what :func:`flyteray.current_project` and ``current_domain`` tell."""

    _options: ClassVar = {
        "org": _Option("task.org"),
        "project": _Option("task.project"),
        "domain": _Option("task.domain"),
    }

    org: str | None = None
    project: str | None = None
    domain: str | None = None


@dataclass(frozen=True)
class ImageConfig(_Section):
    """What is said of images: ``image_refs`` tells what ``Image.from_ref_name(name)`` stands for.

    ``builder`` and ``registry`` mean nothing on Ray, whose nodes make images ready themselves.
    """

    _options: ClassVar = {
        "builder": _Option("image.builder"),
        "image_refs": _Option("image.image_refs", _uris),
        "registry": _Option("image.registry"),
    }

    builder: str | None = None
    image_refs: dict[str, str] = field(default_factory=dict)
    registry: str | None = None


@dataclass(frozen=True)
class LocalConfig(_Section):
    """What Flyte records of local runs. It means nothing on Ray."""

    _options: ClassVar = {
        "persistence": _Option("local.persistence", _switch),
        "tracked": _Option("local.tracked", _switch),
        "tracked_strict": _Option("local.tracked_strict", _switch),
    }

    persistence: bool = False
    tracked: bool = False
    tracked_strict: bool = False


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
        """The same with other parts."""
        return dataclasses.replace(
            self,
            platform=platform or self.platform,
            task=task or self.task,
            image=image or self.image,
        )

    @classmethod
    def auto(cls, config_file: str | Path | ConfigFile | None = None) -> Config:
        """What variables say, else the file, else the defaults; see :func:`auto`."""
        file = get_config_file(config_file)
        return cls(
            platform=PlatformConfig._of(file),
            task=TaskConfig._of(file),
            image=ImageConfig._of(file),
            local=LocalConfig._of(file),
            source=file.path if file else None,
        )


def auto(config_file: str | Path | ConfigFile | None = None) -> Config:
    """What is configured: ``FLYTE_<SECTION>_<OPTION>`` variables first, then a file, then the defaults.

    Args:
        config_file: The file, or where it is. Default: the first one that there is; see :func:`get_config_file`.

    Raises:
        InitializationError: the file that is named does not exist, or a value is of another kind than its setting has.
    """
    return Config.auto(config_file)


def config_from_root(path: str | Path = ".flyte/config.yaml") -> Config | None:
    """What a file below the root of the working directory's git repository configures; None: there is none.

    Args:
        path: Where the file is, below the root.
    """
    root = git_root(Path.cwd())
    file = root / path if root else None
    return auto(file) if file and file.is_file() else None
