"""``flyteray.remote.Key`` lets its owner use the apps that require auth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from flyteray._client.account import User
from flyteray._client.bridge import ListVerb, Verb, not_while_loading
from flyteray._client.credentials.store import open_keys
from flyteray._declare.facts import PRIORITIES, ROLES, Priority, Role
from flyteray._plan.credentials import check_key, check_key_name, key_digest, new_key
from flyteray._plan.spec import KeyChange, KeyInfo, KeySpec


class Key:
    """Lets its owner use apps with ``requires_auth=True`` where the ingress asks for keys.

    It goes with each request as the header ``Authorization: Bearer KEY``; the app learns the owner's name from the
    header ``X-Flyteray-User``, and the key itself only with ``forward_key=True``. A secret can hold one for tasks and
    apps that call others. People paste theirs at ``/-/login`` of the app's host, where browsers are led without one.
    flyteray keeps only the SHA-256 of a key: one that is lost can only be deleted. Keys stay
    after ``flyteray down``.

    With no cluster named and none running, they are kept where the local cluster will find them.

    Attributes:
        name: Whose it is.
        role: What it may do, as :meth:`create` says.
        apps: The apps that it opens; none stands for all.
        created_at: When it was made, UTC.
        expires_at: From when on it opens nothing, UTC; None: it does not end.
        created_by: Who made it, a user of the machine where that was done; None: that is not known.
        priority: Whether its requests go before those of others where they wait for room.
        value: The key itself, on what :meth:`create` returns only; it is kept nowhere else.
    """

    def __init__(self, info: KeyInfo, value: str | None = None) -> None:
        self.name = info.name
        self.role = info.role
        self.apps = info.apps
        self.created_at = info.created_at
        self.expires_at = info.expires_at
        self.created_by = info.by
        self.priority = info.priority
        self.value = value

    @property
    def has_ended(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(timezone.utc)

    @staticmethod
    @Verb
    @not_while_loading("Key.create")
    async def create(
        name: str,
        role: Role = "invoke",
        apps: Sequence[str] = (),
        expires: timedelta | datetime | None = None,
        priority: Priority = "normal",
    ) -> Key:
        """Make a key; requests with it are answered at once.

        Args:
            name: Whose it is: up to 63 letters, digits, dots, ``_``, ``-`` and ``@``.
            role: What it may do, and each what those before it may: ``read`` how things are (the GET requests of
                webhooks), ``invoke`` apps, ``deploy`` and start things (all requests of webhooks), ``admin`` all.
            apps: The names of the apps that it opens, whether they are there or not. Default: all.
            expires: From when on it opens nothing: a time from now, or a point in time, which is local without a time
                zone. What is open for it then is ended. Default: it does not end.
            priority: ``high``, ``normal`` or ``low``: whose requests go first where an app with a concurrency in its
                ``Limits`` has more to do than it takes at one time. Those of ``high`` may wait in a queue that is full
                for others (twice as many), those of ``low`` in half of it only. Apps read it in
                ``X-Flyteray-Priority``, where it is not normal.

        Raises:
            ValueError: A bad name, or one that is taken; no such role or priority; what can't be an app's name; a time
                that is over.
            TypeError: One str where several names are needed, or no time.
        """
        wanted = _wanted(name, role, apps, expires, priority)
        value = new_key()
        async with open_keys() as keys:
            by = (await User.get.aio()).name()
            return Key(await keys.create(wanted.model_copy(update={"by": by}), key_digest(value)), value)

    @staticmethod
    @ListVerb
    async def listall(limit: int = 100) -> list[Key]:
        """Keys by name, at most ``limit`` of them, without their values."""
        async with open_keys() as keys:
            return [Key(info) for info in await keys.listall(limit)]

    @staticmethod
    @ListVerb
    async def changes(limit: int = 100) -> list[KeyChange]:
        """Who has made and deleted which key and when: ``name``, ``action``, ``at``, ``by``; the newest first."""
        async with open_keys() as keys:
            return await keys.changes(limit)

    @staticmethod
    @Verb
    @not_while_loading("Key.delete")
    async def delete(name: str) -> None:
        """Answer no more requests with a key, and end WebSockets and answers that are under way with it.

        Raises:
            KeyNotFoundError: There is none of that name; the message says which there are.
        """
        async with open_keys() as keys:
            await keys.delete(name, (await User.get.aio()).name())

    def __repr__(self) -> str:
        return f"Key(name={self.name!r})"


def _wanted(
    name: str, role: Role, apps: Sequence[str], expires: timedelta | datetime | None, priority: Priority
) -> KeySpec:
    check_key_name(name)
    if role not in ROLES:
        raise ValueError(f"There is no role {role!r}: use one of {', '.join(ROLES)}.")
    if priority not in PRIORITIES:
        raise ValueError(f"There is no priority {priority!r}: use one of {', '.join(PRIORITIES)}.")
    if isinstance(apps, str) or not all(isinstance(app, str) for app in apps):
        raise TypeError(f"apps must be a list of the names of apps, got {apps!r}.")
    if isinstance(expires, timedelta):
        expires = datetime.now(timezone.utc) + expires
    elif isinstance(expires, datetime):
        expires = expires.astimezone(timezone.utc)
    elif expires is not None:
        raise TypeError(f"expires must be a timedelta or a datetime, got {expires!r}.")
    wanted = KeySpec(
        name=name, role=role, apps=tuple(dict.fromkeys(apps)), expires_at=expires, priority=priority
    )
    check_key(wanted)
    return wanted
