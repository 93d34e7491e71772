"""The webhook itself."""

from __future__ import annotations

import getpass


async def health() -> dict[str, str]:
    """Whether the webhook answers."""
    return {"status": "healthy"}


def me() -> dict[str, str]:
    """The user that the cluster runs as, in whose name everything here is done."""
    name = getpass.getuser()
    return {"subject": name, "name": name}
