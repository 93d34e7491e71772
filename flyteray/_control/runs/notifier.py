"""The notifier tells people and programs how runs have ended, beside all else, and again where that fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from flyteray._control.registry.database import now
from flyteray._control.registry.notices import Notice
from flyteray._control.registry.registry import Registry
from flyteray._notify.delivery import AGAIN_S, NotDeliveredError, deliver
from flyteray._notify.messages import Ended, declared_of
from flyteray._settings import Settings
from flyteray.errors import RegistryUnavailableError

_LONGEST_S = 30.0  # between two looks at the clock, which may be set anew
_AGAIN_S = 2.0

logger = logging.getLogger(__name__)


class Notifier:
    """Sends the notices of ``registry``; ``secret`` gives the value of the secret of a name.

    Each is recorded as sent once it was. Whoever dies in between sends it twice.
    """

    def __init__(self, registry: Registry, settings: Settings, secret: Callable[[str], bytes]) -> None:
        self._notices = registry.notices
        self._settings = settings
        self._secret = secret
        self._new = asyncio.Event()
        self._notices.on_new(self._new.set)

    async def run(self) -> None:
        """Send notices for ever."""
        while True:
            self._new.clear()
            try:
                rest_s = await self.send()
            except RegistryUnavailableError as error:
                logger.warning("Notifications are looked at again: %s", error)
                rest_s = _AGAIN_S
            except Exception:
                logger.exception("Looking at notifications failed; they are looked at again")
                rest_s = _AGAIN_S
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._new.wait(), rest_s)

    async def send(self) -> float:
        """Send what is due; for how many seconds nothing is."""
        await asyncio.gather(*(self._try(notice) for notice in self._notices.due(now())))
        soonest = self._notices.next_due()
        if soonest is None:
            return _LONGEST_S
        return min(max((soonest - now()).total_seconds(), 0.0), _LONGEST_S)

    async def _try(self, notice: Notice) -> None:
        declared = declared_of(notice.spec.notifications[notice.number])
        error: str | None = None
        again_at: datetime | None = None
        try:
            await asyncio.to_thread(deliver, declared, _ended(notice), self._settings, self._secret)
        except NotDeliveredError as refused:
            error, kind = str(refused), type(declared).__name__
            if not refused.final and notice.tries < len(AGAIN_S):
                again_at = now() + timedelta(seconds=AGAIN_S[notice.tries])
            more = "it is tried again" if again_at else "it is not tried again"
            logger.warning("%s of run %s was not sent, %s: %s", kind, notice.spec.name, more, error)
        except Exception as failed:
            error = f"{type(failed).__name__}: {failed}"
            logger.exception("A notification of run %s could not be sent", notice.spec.name)
        self._notices.tried(notice, now(), error, again_at)


def _ended(notice: Notice) -> Ended:
    owner = notice.spec.owner
    return Ended(
        run=notice.spec.name,
        task=notice.spec.task.name,
        phase=str(notice.phase),
        error=notice.error.summary if notice.error else "",
        project=owner.project or "",
        domain=owner.domain or "",
    )
