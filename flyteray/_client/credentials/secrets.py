"""``flyteray.remote.Secret`` is kept, encrypted, for the environments that ask for it."""

from __future__ import annotations

from typing import Any, Literal

from flyteray._client.bridge import ListVerb, Verb, not_while_loading
from flyteray._client.credentials.store import open_secrets
from flyteray._declare.environment import without_meaning
from flyteray._handles import AsJson
from flyteray._plan.credentials import as_value, check_secret_name
from flyteray._plan.info import SecretInfo, to_json


class Secret(AsJson):
    """A secret that is kept, encrypted. Its value is given to tasks and apps that ask for it, and never shown.

    With no cluster named and none running, it is kept where the local cluster will find it.

    Attributes:
        name: ``key``, or ``group/key`` for ``flyteray.Secret(key, group=group)``.
        type: ``"regular"``: there is no other kind on Ray.
        created_at: When it was first kept, UTC.
        updated_at: When it got its value, UTC.
        taken: Whether nobody has created it: the local cluster took it from the environment of who ran or served.
    """

    type: Literal["regular"] = "regular"

    def __init__(self, info: SecretInfo) -> None:
        self._info = info
        self.name = info.name
        self.created_at = info.created_at
        self.updated_at = info.updated_at
        self.taken = info.taken

    @staticmethod
    @Verb
    @not_while_loading("Secret.create")
    async def create(
        name: str, value: str | bytes, type: str = "regular", cluster_pool: str | None = None
    ) -> Secret:
        """Keep a secret; one of that name gets the new value.

        A task that starts ten seconds later has the new value, a replica once it is restarted.

        Args:
            name: ``key``, or ``group/key``.
            value: Text, or bytes for what is given out as a file; at most 64 KiB.
            type: ``"regular"``.
            cluster_pool: Means nothing on Ray, and says so.

        Raises:
            TypeError: The value is neither str nor bytes.
            ValueError: A bad name, another type, or a value that is empty or too large.
        """
        if type != "regular":
            raise ValueError(
                f"There are no secrets of type {type!r} on Ray, where nodes pull images with credentials of their "
                'own: use "regular".'
            )
        _say_what_means_nothing(f"Secret {name!r}", cluster_pool)
        check_secret_name(name)
        async with open_secrets() as secrets:
            return Secret(await secrets.create(name, as_value(name, value)))

    @staticmethod
    @Verb
    async def get(name: str, cluster_pool: str | None = None) -> Secret:
        """The secret of that name, without its value. ``cluster_pool`` means nothing on Ray, and says so.

        Raises:
            SecretNotFoundError: There is none.
        """
        _say_what_means_nothing(f"Secret {name!r}", cluster_pool)
        async with open_secrets() as secrets:
            return Secret(await secrets.get(name))

    @staticmethod
    @ListVerb
    async def listall(limit: int = 10, cluster_pool: str | None = None) -> list[Secret]:
        """Secrets by name, at most ``limit`` of them. ``cluster_pool`` means nothing on Ray, and says so."""
        _say_what_means_nothing("Secret.listall", cluster_pool)
        async with open_secrets() as secrets:
            return [Secret(info) for info in await secrets.listall(limit)]

    @staticmethod
    @Verb
    @not_while_loading("Secret.delete")
    async def delete(name: str, cluster_pool: str | None = None) -> None:
        """Forget a secret; processes that were given it keep it. ``cluster_pool`` means nothing on Ray, and says so.

        Raises:
            SecretNotFoundError: There is none.
        """
        _say_what_means_nothing(f"Secret {name!r}", cluster_pool)
        async with open_secrets() as secrets:
            await secrets.delete(name)

    def to_dict(self) -> dict[str, Any]:
        """All that is told of it, as plain JSON values; its value is not."""
        return to_json(self._info)

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r})"


def _say_what_means_nothing(owner: str, cluster_pool: str | None) -> None:
    if cluster_pool is not None:
        without_meaning(owner, "cluster_pool")
