"""The offer of TLS to clients is kept up with its files: a certificate that is replaced is shown without a restart."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from flyteray import _private
from flyteray._ingress.haproxy import maps
from flyteray._ingress.tls.offered import Offered
from flyteray._settings import Tls

Show = Callable[[Offered, Callable[[], None]], None]
"""Has HAProxy show a certificate, and calls what puts it where it is read at a start."""

_EVERY_S = 1.0
_KEY_FOR_ALL = "{} can be read by every user of this machine: chmod 600 it."


class Offer:
    """What an ingress shows to clients by TLS, in files for HAProxy, and a watch of the user's own.

    Args:
        directory: Where HAProxy finds its files.
        tls: The user's.
        serves: Whether HAProxy shows an earlier one already: then files that are wrong now do not end that.

    Raises:
        ClusterError: the user's files are wrong, and HAProxy shows nothing yet; the message says what to do.
    """

    def __init__(self, directory: Path, tls: Tls, serves: bool) -> None:
        self._directory = directory
        self._tls = tls
        self._stopped = threading.Event()
        self._offered: Offered | None = None
        self._problem = ""
        self._looked_at: object = None
        state = self._state()  # first: what changes while it is read is read again
        try:
            self._offered = Offered.read(tls, _now()) if serves else Offered.made_sure(tls)
        except (OSError, ValueError) as error:
            self._problem = str(error)
        else:
            self._looked_at = state
            self._write(self._offered)

    def host(self, address: str) -> str:
        """The host to give to clients of an ingress at this address."""
        return self._offered.host(address) if self._offered else address

    def told(self) -> str:
        """The certificate that is shown, and what is wrong with it or with the files, in words."""
        words = []
        if self._offered is not None:
            ends = self._offered.ends
            words.append(
                f"for {', '.join(self._offered.hosts) or 'no host'}, until {ends:%Y-%m-%d %H:%M} UTC"
            )
            if _now() > ends:
                words.append("ITS TIME IS OVER: clients refuse it, renew it")
        if self._problem:
            words.append(f"an earlier one is shown: {self._problem}")
        elif (path := self._tls.key).exists() and path.stat().st_mode & 0o004:
            words.append(_KEY_FOR_ALL.format(path))
        return "; ".join(words)

    def watch(self, show: Show) -> None:
        """Have another certificate shown when the files hold one, in a thread of its own; ``show`` may raise."""
        threading.Thread(target=self._work, args=(show,), name="flyteray-tls", daemon=True).start()

    def stop(self) -> None:
        """End the thread, within seconds."""
        self._stopped.set()

    def _work(self, show: Show) -> None:
        while not self._stopped.wait(_EVERY_S):
            if (state := self._state()) != self._looked_at:
                self._look(show, state)

    def _look(self, show: Show, state: object) -> None:
        try:
            offered = Offered.read(self._tls, _now())
            if self._offered is None or offered.digest != self._offered.digest:
                show(offered, partial(self._write, offered))
        except (OSError, ValueError) as error:
            # Of two files one may have been replaced so far: the other one changes this again.
            problem = str(error)
        except Exception as error:  # noqa: BLE001  # HAProxy may be starting: it is tried again
            if not self._stopped.is_set():
                print(f"The new certificate is not shown yet: {error!r}", flush=True)
            return
        else:
            problem, self._offered = "", offered
        self._looked_at, self._problem = state, problem

    def _write(self, offered: Offered) -> None:
        _private.replace(self._directory / maps.TLS_FILE, offered.chain)
        if offered.clients:
            _private.replace(self._directory / maps.TLS_CLIENTS_FILE, offered.clients)

    def _state(self) -> object:
        """What tells another content of the files."""
        return [_of(path) for path in self._tls.files]


def _of(path: Path) -> object:
    try:
        seen = os.stat(path)
    except OSError as error:
        return error.errno
    return seen.st_mtime_ns, seen.st_ino, seen.st_dev, seen.st_size, seen.st_mode, seen.st_uid


def _now() -> datetime:
    return datetime.now(timezone.utc)
