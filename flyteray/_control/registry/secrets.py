"""The registry's secrets: their values are encrypted with a key that is kept elsewhere."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_bytes
from typing import NamedTuple

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import delete, select

from flyteray import _private
from flyteray._actors.controller import Secrets as SecretsDoor
from flyteray._control.registry.database import Database, now
from flyteray._control.registry.tables import secrets
from flyteray._ingress.tls.certificates import Authority
from flyteray._plan.credentials import as_value, check_secret_name, not_found
from flyteray._plan.info import SecretInfo
from flyteray.errors import InitializationError, RuntimeSystemError

_INFO = [secrets.c.name, secrets.c.created_at, secrets.c.updated_at]
_OWN = "flyteray:"  # before the names of those that are none of users'
_AUTHORITY, _SIGNS = f"{_OWN}authority", f"{_OWN}signs"
_OF_USERS = ~secrets.c.name.startswith(_OWN)
_UNREADABLE = "SecretUnreadable"  # the code of the error where a value was encrypted with a key that is gone
_TAKEN = "environment:"  # before the names of those that nobody has created; no other name has a colon


class _Kept(NamedTuple):
    encrypted: bytes
    taken: bool


class Secrets(SecretsDoor):
    """Secrets by name, which is ``key`` or ``group/key``: those that users create, and those that are taken.

    A secret is taken by a local cluster from the environment of those who run and serve. It counts where nobody has
    created one of that name.

    Args:
        database: The registry's.
        key_path: The file with the key; made when the first secret is kept, for its owner alone to read.
        key: The key itself, in place of the file: as ``Fernet.generate_key()`` returns it; InitializationError else.
    """

    def __init__(self, database: Database, key_path: Path, key: str | None = None) -> None:
        self._database = database
        self._key_path = key_path
        self._given = None if key is None else _cipher(key.encode(), "FLYTERAY_SECRETS_KEY")
        self._signs: bytes | None = None

    async def create(self, name: str, value: str | bytes) -> SecretInfo:
        """Keep a secret, or give it a new value; a bad name, an empty or too large value are a ValueError."""
        check_secret_name(name)
        created_at, updated_at = self._keep(name, as_value(name, value))
        return SecretInfo(name=name, created_at=created_at, updated_at=updated_at)

    async def take(self, values: Mapping[str, bytes]) -> list[str]:
        """Take the values of an environment, and name those that are new or others than before; errors as in create."""
        for name, value in values.items():
            check_secret_name(name)
            as_value(name, value)
        before = self._find(values)
        changed = [
            name
            for name, value in values.items()
            if name not in before or self._decrypted(name, before[name].encrypted) != value
        ]
        for name in changed:
            self._keep(_TAKEN + name, values[name])
        return changed

    def authority(self) -> Authority:
        """The authority by which the cluster's ingresses know each other; made when it is first needed.

        One that can't be read any more is replaced: nodes have themselves certified again.
        """
        certificate, _, key = self._own(_AUTHORITY, _new_authority).partition(b"\0")
        return Authority(certificate, key)

    def sign_in(self) -> bytes:
        """The secret of which cookies of browsers are made that sign in with a key; made when it is first needed.

        One that can't be read any more is replaced: browsers sign in again. What was read once is known from then on.
        """
        if self._signs is None:
            self._signs = self._own(_SIGNS, lambda: token_bytes(32))
        return self._signs

    def _own(self, name: str, new: Callable[[], bytes]) -> bytes:
        try:
            found = self._find([name])
            if found:
                return self._decrypted(name, found[name].encrypted)
        except RuntimeSystemError as error:
            if error.code != _UNREADABLE:
                raise
        made = new()
        self._keep(name, made)
        return made

    async def uncreated(self, names: Iterable[str]) -> list[str]:
        found = self._find(names)
        return [name for name in dict.fromkeys(names) if name not in found or found[name].taken]

    async def values(self, names: Sequence[str]) -> dict[str, bytes]:
        return self.read(names)

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The values of some secrets by name; SecretNotFoundError, or RuntimeSystemError under another key."""
        return {name: self._decrypted(name, kept.encrypted) for name, kept in self._found(names).items()}

    def require(self, names: Iterable[str]) -> None:
        """Make sure that all of these exist; SecretNotFoundError names those that don't."""
        self._found(names)

    async def get(self, name: str) -> SecretInfo:
        found = next((info for info in await self.listall(None) if info.name == name), None)
        if found is None:
            raise not_found([name], self.names())
        return found

    async def listall(self, limit: int | None) -> list[SecretInfo]:
        with self._database.read() as connection:
            rows = list(connection.execute(select(*_INFO).where(_OF_USERS)))
        found: dict[str, SecretInfo] = {}
        for row in sorted(rows, key=lambda row: not row.name.startswith(_TAKEN)):
            name = row.name.removeprefix(_TAKEN)
            found[name] = SecretInfo(
                name=name, created_at=row.created_at, updated_at=row.updated_at, taken=name != row.name
            )
        return [found[name] for name in sorted(found)][:limit]

    async def delete(self, name: str) -> None:
        with self._database.write() as connection:
            both = secrets.c.name.in_([name, _TAKEN + name])
            if not connection.execute(delete(secrets).where(both)).rowcount:
                raise not_found([name], self.names())

    def names(self) -> list[str]:
        """The names of all secrets, in order."""
        with self._database.read() as connection:
            names = connection.scalars(select(secrets.c.name).where(_OF_USERS))
            return sorted({name.removeprefix(_TAKEN) for name in names})

    def _found(self, names: Iterable[str]) -> dict[str, _Kept]:
        wanted = list(dict.fromkeys(names))
        found = self._find(wanted) if wanted else {}
        if missing := [name for name in wanted if name not in found]:
            raise not_found(missing, self.names())
        return {name: found[name] for name in wanted}

    def _find(self, names: Iterable[str]) -> dict[str, _Kept]:
        """The secrets that are kept under some names, those created before those taken."""
        wanted = list(names)
        both = [*(_TAKEN + name for name in wanted), *wanted]
        query = select(secrets.c.name, secrets.c.encrypted).where(secrets.c.name.in_(both))
        with self._database.read() as connection:
            kept = {row.name: row.encrypted for row in connection.execute(query)}
        return {
            name.removeprefix(_TAKEN): _Kept(kept[name], name.startswith(_TAKEN))
            for name in both
            if name in kept
        }

    def _keep(self, name: str, value: bytes) -> tuple[datetime, datetime]:
        """Keep a value; the times of the first one of that name and of this one."""
        encrypted = self._cipher(make=True).encrypt(value)
        kept_at = now()
        with self._database.write() as connection:
            known = connection.scalar(select(secrets.c.created_at).where(secrets.c.name == name))
            row = {
                "name": name,
                "encrypted": encrypted,
                "created_at": known or kept_at,
                "updated_at": kept_at,
            }
            connection.execute(self._database.upsert(secrets, ["name"]), row)
        return known or kept_at, kept_at

    def _decrypted(self, name: str, encrypted: bytes) -> bytes:
        try:
            return self._cipher().decrypt(encrypted)
        except InvalidToken:
            source = "FLYTERAY_SECRETS_KEY" if self._given else str(self._key_path)
            raise RuntimeSystemError(
                _UNREADABLE,
                f"Secret {name!r} was encrypted with another key than that in {source}. Bring that key back, or "
                f"create the secret again: `flyteray create secret {name}`.",
            ) from None

    def _cipher(self, make: bool = False) -> Fernet:
        if self._given is not None:
            return self._given
        if make and not self._key_path.exists():
            _write_once(self._key_path, Fernet.generate_key())
        try:
            key = self._key_path.read_bytes().strip()
        except FileNotFoundError:
            raise RuntimeSystemError(
                _UNREADABLE,
                f"The key of the secrets is gone: there is no {self._key_path}. Bring it back, set "
                "FLYTERAY_SECRETS_KEY where the cluster's head is started, or create the secrets again.",
            ) from None
        return _cipher(key, str(self._key_path))


def _new_authority() -> bytes:
    made = Authority.new()
    return made.certificate + b"\0" + made.key


def _cipher(key: bytes, source: str) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise InitializationError(
            "InitializationError",
            "user",
            f"{source} holds no key: make one with "
            "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'`.",
        ) from None


def _write_once(path: Path, content: bytes) -> None:
    """Make a file that its owner alone can read, whole or not at all; one that is there stays."""
    _private.folder(path.parent)
    descriptor, new = tempfile.mkstemp(dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(new, path)
    finally:
        os.unlink(new)
