"""A shadow is a version that gets copies of an app's requests, and whose answers nobody gets."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEAST = 0.01  # percent


@dataclass(frozen=True)
class Shadow:
    """How a new version is tried on live requests: ``flyteray.deploy(env, version="v2", shadow=Shadow(share=10))``.

    Users are answered by the version that serves, as if there were no other. A share of their requests is copied to the
    new one once its replicas are ready, and what it answers is thrown away: only its status and the time that it took
    are noted beside those of the live answer. ``flyteray get app NAME --versions`` and
    :meth:`flyteray.remote.App.versions` tell them. The new version has replicas and scales as any other.

    **A copy does what the request does.** A shadow that writes to the same database writes twice: copy only safe
    methods, give it a place of its own to write to, or have it look at ``X-Flyteray-Shadow``, which copies have and
    requests of users never. A copy has the method, path, query, headers and body of the request, but no flyteray key.

    Nobody waits for a copy, and nobody notices what becomes of it. 32 may be open at a time at each ingress, and a
    request that comes then is not copied. Nor are WebSockets, gRPC and event streams that a browser opens, which need
    somebody at the other end, and requests with bodies of more than 64 KiB or of no stated length, which would have to
    be kept. How many were left out, and why, is told. A request that is copied is handed on when its body is there.
    HAProxy takes some MiB of memory more for all that are open; of quick ones that have ended it keeps nothing.

    An app has one shadow at a time. It ends when it is given a share of the requests, as by :meth:`promote
    <flyteray.remote.App.promote>` or a :class:`Canary`, when another version takes over or becomes the shadow, and by
    ``App.set_shadow(None)``.

    Args:
        share: Percent of the requests that the version which serves answers, 0.01 to 100.
        safe_only: Copy only GET, HEAD and OPTIONS, which are not to change anything; the share is one of these.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: A share that is none.
    """

    share: float = 10.0
    safe_only: bool = False

    def __post_init__(self) -> None:
        share = self.share
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise TypeError(f"Shadow share must be a number of percent, got {share!r}.")
        if not math.isfinite(share) or not LEAST <= share <= 100:
            raise ValueError(f"Shadow share must be {LEAST} to 100 percent, got {share!r}.")
        if not isinstance(self.safe_only, bool):
            raise TypeError(f"Shadow safe_only must be True or False, got {self.safe_only!r}.")
