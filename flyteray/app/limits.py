"""Limits say what an app takes at most: the ingress refuses the rest at once, before it reaches a replica."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_CONCURRENCY = 10_000
_MOST_QUEUE = 100_000
_MOST_RATE = 1_000_000
_MOST_HEADERS = 68 << 10  # what the ingress takes in any case
_MOST_BODY = 1 << 50


@dataclass(frozen=True)
class Limits:
    """What an app takes at most; requests beyond it are told so at once, by a text or JSON that names app and limit.

    None stands for no limit of the app's own. How long a request may take is said by :class:`Timeouts`. Changing limits
    restarts no replica. In local mode there is no ingress, and no limit. Not of Flyte.

    Args:
        concurrency: Requests and WebSockets that a replica works on at one time, up to 10,000; further ones wait for it
            at the ingress, a minute at most. Those with bodies that stream, whose length nobody knows ahead, are
            counted apart, to the same number, and do not wait, but for those of a port of name ``"h2c"``.
        queue: Requests that may wait so, for each replica; those beyond get status 429 with ``Retry-After``. 0: none
            waits. Default: half of ``concurrency``, and 1 at least, so that none that is served takes twice its time.
        requests_per_second: Requests that each key may send, or each address without one, at each ingress; status 429
            with ``Retry-After``.
        body: Bytes of a request's body; status 413. Not with a port of name ``"h2c"``, where bodies may have no end.
        headers: Bytes of a request's headers as they reach the app, with some 200 that the ingress adds; up to 68 KB,
            which is its own limit; status 431.

    Raises:
        TypeError: No int.
        ValueError: Out of range, or a queue without ``concurrency``.
    """

    concurrency: int | None = None
    queue: int | None = None
    requests_per_second: int | None = None
    body: int | None = None
    headers: int | None = None

    def __post_init__(self) -> None:
        for name, least, most in (
            ("concurrency", 1, _MOST_CONCURRENCY),
            ("queue", 0, _MOST_QUEUE),
            ("requests_per_second", 1, _MOST_RATE),
            ("body", 1, _MOST_BODY),
            ("headers", 1, _MOST_HEADERS),
        ):
            given = getattr(self, name)
            if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
                raise TypeError(f"Limits {name} must be an int, got {given!r}.")
            if given is not None and not least <= given <= most:
                raise ValueError(f"Limits {name} must be from {least} to {most}, got {given}.")
        if self.queue is not None and self.concurrency is None:
            raise ValueError(
                f"Limits queue={self.queue} says how many requests may wait, but without concurrency none waits: say "
                "concurrency=... as well."
            )
