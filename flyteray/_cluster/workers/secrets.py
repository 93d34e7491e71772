"""The secrets of an environment in a process that runs its code: environment variables and files."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._cluster.workers.secret_files import MountedFile
from flyteray._plan.credentials import as_text
from flyteray._plan.spec import SecretSpec
from flyteray.errors import RuntimeUserError

_FRESH_S = 10.0

Values = Callable[[Sequence[SecretSpec]], Mapping[str, bytes]]
"""Gives the values by the secrets' names; raises SecretNotFoundError."""


class ProcessSecrets:
    """Secrets as this process's environment variables and files."""

    def __init__(self, specs: Sequence[SecretSpec], values: Values) -> None:
        self._specs = specs
        self._values = values
        self._delivered_at: float | None = None
        self._earlier: dict[str, str | None] = {}
        self._files: dict[str, MountedFile] = {}

    def deliver(self) -> None:
        """Put them where they belong. Done again, it takes those that have changed, after seconds at the earliest.

        SecretNotFoundError, or RuntimeUserError where one can't be a variable or its file can't be written.
        """
        fresh = self._delivered_at is not None and time.monotonic() - self._delivered_at < _FRESH_S
        if not self._specs or fresh:
            return
        values = self._values(self._specs)
        if not self._earlier and not self._files:
            atexit.register(self.withdraw)
        for spec in self._specs:
            if spec.env_var is not None:
                self._earlier.setdefault(spec.env_var, os.environ.get(spec.env_var))
                os.environ[spec.env_var] = _text(spec, values[spec.name])
            if spec.mount is not None:
                self._mount(spec, values[spec.name])
        self._delivered_at = time.monotonic()  # not before: half of them is none

    def withdraw(self) -> None:
        """Take the files away, and give the environment variables back the values they had."""
        atexit.unregister(self.withdraw)
        for name, value in self._earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for file in self._files.values():
            file.close()
        self._earlier, self._files, self._delivered_at = {}, {}, None

    def _mount(self, spec: SecretSpec, value: bytes) -> None:
        path = Path(spec.mount or "", spec.name)
        try:
            if spec.name in self._files:
                self._files[spec.name].write(value)
            else:
                self._files[spec.name] = MountedFile(path, value)
        except OSError as error:
            raise RuntimeUserError(
                "SecretMountError",
                f"Secret {spec.name!r} can't be mounted at {path}: {error.strerror}. Make {spec.mount} a folder that "
                "the user who runs Ray may write to, on every node, or ask for an environment variable: leave mount "
                "away.",
            ) from error


def of_worker(specs: Sequence[SecretSpec]) -> ProcessSecrets:
    """The secrets of a process of the cluster: the controller gives it their values."""
    os.environ.pop("FLYTERAY_SECRETS_KEY", None)  # the head's own, which user code has no use for
    return ProcessSecrets(
        specs, lambda asked: ask(controller().secrets.values([spec.name for spec in asked]))
    )


def _text(spec: SecretSpec, value: bytes) -> str:
    text = as_text(value)
    if text is None:
        raise RuntimeUserError(
            "SecretNotText",
            f"Secret {spec.name!r} is no text, so it can't be environment variable {spec.env_var}: ask for "
            'it as a file, with mount=Path("/etc/flyte/secrets").',
        )
    return text
