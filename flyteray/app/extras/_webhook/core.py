"""The webhook itself."""

from __future__ import annotations

import getpass
import os


async def health() -> dict[str, str]:
    """Whether the webhook answers."""
    return {"status": "healthy"}


def me() -> dict[str, str]:
    """The user that the cluster runs as, in whose name everything here is done."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # containers may run as a user without a name
        name = str(os.getuid())
    return {"subject": name, "name": name}
