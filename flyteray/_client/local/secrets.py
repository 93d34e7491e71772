"""The secrets of local mode: variables of this process's environment, and the store of a local cluster."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from flyteray._client.credentials.caller_secrets import secrets_not_found
from flyteray._client.credentials.store import local_secrets
from flyteray._cluster.workers.secrets import ProcessSecrets
from flyteray._declare.secret import Secret
from flyteray._plan.credentials import secret_specs, variable
from flyteray._plan.spec import SecretSpec
from flyteray._settings import Settings
from flyteray.errors import SecretNotFoundError


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
