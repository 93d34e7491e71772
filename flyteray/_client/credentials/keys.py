"""``flyteray.remote.Key`` lets its owner use the apps that require auth."""

from __future__ import annotations

from flyteray._client.bridge import ListVerb, Verb, not_while_loading
from flyteray._client.credentials.store import open_keys
from flyteray._plan.credentials import check_key_name, key_digest, new_key
from flyteray._plan.spec import KeyInfo


class Key:
    """Lets its owner use apps with ``requires_auth=True``, all of them, where the ingress asks for keys.

    It goes with each request as the header ``Authorization: Bearer KEY``; the app learns the owner's name from the
    header ``X-Flyteray-User``. A secret can hold one for tasks and apps that call others. flyteray keeps only the
    SHA-256 of a key: one that is lost can only be deleted. Keys stay after ``flyteray down``.

    With no cluster named and none running, they are kept where the local cluster will find them.

    Attributes:
        name: Whose it is.
        created_at: When it was made, UTC.
        value: The key itself, on what :meth:`create` returns only; it is kept nowhere else.
    """

    def __init__(self, info: KeyInfo, value: str | None = None) -> None:
        self.name = info.name
        self.created_at = info.created_at
        self.value = value

    @staticmethod
    @Verb
    @not_while_loading("Key.create")
    async def create(name: str) -> Key:
        """Make a key; requests with it are answered at once.

        Args:
            name: Whose it is: up to 63 letters, digits, dots, ``_``, ``-`` and ``@``.

        Raises:
            ValueError: A bad name, or one that is taken.
        """
        check_key_name(name)
        value = new_key()
        async with open_keys() as keys:
            return Key(await keys.create(name, key_digest(value)), value)

    @staticmethod
    @ListVerb
    async def listall(limit: int = 100) -> list[Key]:
        """Keys by name, at most ``limit`` of them, without their values."""
        async with open_keys() as keys:
            return [Key(info) for info in await keys.listall(limit)]

    @staticmethod
    @Verb
    @not_while_loading("Key.delete")
    async def delete(name: str) -> None:
        """Answer no more requests with a key; WebSockets and answers that are under way go on.

        Raises:
            KeyNotFoundError: There is none of that name; the message says which there are.
        """
        async with open_keys() as keys:
            await keys.delete(name)

    def __repr__(self) -> str:
        return f"Key(name={self.name!r})"
