"""This process is furnished for tasks of local mode: with variables in its environment, and with secrets."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence

from flyteray._client.credentials.caller_secrets import secrets_not_found
from flyteray._client.credentials.store import local_secrets
from flyteray._cluster.workers.secrets import ProcessSecrets
from flyteray._declare.secret import Secret
from flyteray._plan.credentials import secret_specs, variable
from flyteray._plan.spec import SecretSpec
from flyteray._settings import Settings
from flyteray.errors import SecretNotFoundError


class LocalVariables:
    """Variables of a local run. Tasks of one process share its environment: of two that run at once, one may see the
    other's.

    Args:
        above: Those of the whole run, which go before a task's own.
    """

    def __init__(self, above: Mapping[str, str]) -> None:
        self._above = dict(above)
        self._before: dict[str, str | None] = {}

    def deliver(self, own: Mapping[str, str]) -> None:
        """Put a task's own variables, and those of the run, into the environment."""
        for name, value in {**own, **self._above}.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def withdraw(self) -> None:
        """Leave the environment as it was."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()


class LocalSecrets:
    """The secrets that local mode has delivered in this process: variables of its environment, and files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._delivered: dict[tuple[SecretSpec, ...], ProcessSecrets] = {}

    def deliver(self, secrets: Sequence[Secret]) -> None:
        """Put the secrets of a task where its code looks for them; RuntimeUserError where one can't be put there."""
        specs = secret_specs(secrets)
        if specs:
            values = functools.partial(local_values, settings=self._settings)
            self._delivered.setdefault(specs, ProcessSecrets(specs, values)).deliver()

    def withdraw(self) -> None:
        """Leave the environment and the files as they were."""
        for process_secrets in reversed(self._delivered.values()):
            process_secrets.withdraw()
        self._delivered.clear()


def local_values(specs: Sequence[SecretSpec], settings: Settings) -> dict[str, bytes]:
    """The values of secrets: of their variables in this process's environment, else as stored, else an error."""
    values = {
        spec.name: os.fsencode(os.environ[variable(spec)]) for spec in specs if variable(spec) in os.environ
    }
    stored = [spec for spec in specs if spec.name not in values]
    if not stored:
        return values
    with local_secrets(settings) as secrets:
        try:
            return values | secrets.read(spec.name for spec in stored)
        except SecretNotFoundError:
            known = secrets.names()
            missing = [spec for spec in stored if spec.name not in known]
            raise secrets_not_found(missing, known) from None
