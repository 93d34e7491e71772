"""Scaling says how many replicas an app has, and what the number follows."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flyteray._declare.options.schedule import Cron

_CONCURRENCY = 10
_SCALEDOWN_AFTER_S = 60.0
_SLEEP_AFTER_S = 300.0
_MOST_SPARE = 8  # on one machine


@dataclass(frozen=True)
class Metric:
    """A measure that the number of replicas follows: so much of it is one replica's share.

    Raises:
        TypeError: Not a number.
        ValueError: Less than 1, or endless.
    """

    val: float

    def __post_init__(self) -> None:
        if isinstance(self.val, bool) or not isinstance(self.val, (int, float)):
            raise TypeError(f"{type(self).__name__} must be given a number, got {self.val!r}.")
        if not 1 <= self.val < math.inf:
            raise ValueError(f"{type(self).__name__} must be at least 1 and finite, got {self.val!r}.")


@dataclass(frozen=True)
class Window:
    """A time with bounds of its own, again and again.

    Args:
        begins: When it begins, by the clock of any time zone.
        lasts: For how long.
        replicas: The number of replicas then, or a pair, as of :class:`Scaling`.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: No time at all, or numbers that :class:`Scaling` refuses.
    """

    begins: Cron
    lasts: timedelta
    replicas: int | tuple[int, int]

    def __post_init__(self) -> None:
        if not isinstance(self.begins, Cron):
            raise TypeError(
                f'Scaling.During begins must be a Cron, such as Cron("0 8 * * 1-5"), got {self.begins!r}.'
            )
        if not isinstance(self.lasts, timedelta):
            raise TypeError(f"Scaling.During lasts must be a timedelta, got {self.lasts!r}.")
        if self.lasts <= timedelta():
            raise ValueError(f"Scaling.During lasts must be more than no time, got {self.lasts!r}.")
        object.__setattr__(self, "replicas", _bounds(self.replicas))

    def get_replicas(self) -> tuple[int, int]:
        """The least and the most."""
        assert isinstance(self.replicas, tuple)
        return self.replicas


@dataclass(frozen=True)
class Signals:
    """What is known of an app, or of one version of it, when its own policy is asked; see :class:`Scaling`.

    Attributes:
        replicas: How many there are to be at the moment.
        ready: How many of them take requests.
        open: Requests and connections that are open, or wait, on average over the last three seconds.
        requests_per_second: Requests that came in these three seconds, for each of them.
        p50: Seconds that half of the answers of these three seconds took at most; None: there was none.
        p95: Those that 95 of 100 took at most.
        error_rate: The share of the requests that failed in these three seconds, from 0 to 1.
    """

    replicas: int
    ready: int
    open: float = 0.0
    requests_per_second: float = 0.0
    p50: float | None = None
    p95: float | None = None
    error_rate: float = 0.0


Policy = Callable[[Signals], "int | float"]


@dataclass(frozen=True)
class Scaling:
    """The number of replicas of an app.

    With a range the number follows what clients ask of the app, between the bounds: more replicas within seconds,
    fewer when that many have been enough for ``scaledown_after``. Changing it restarts no replica.

    Where the least is 0, as by default, an app that nobody uses, and to which no connection is open, goes to sleep: it
    has no replica until the next request, which waits while one starts (seconds, and what the app itself needs for its
    start) and is answered by it; so do those that come meanwhile, whatever they are. Where the replica can't start they
    are answered with 503. Requests wait in the same way when the last replica of any app has died, or the first one of
    a new app has yet to come. An app that is deployed, or whose cluster comes back, starts with a replica, whatever the
    least is. Serving an app that sleeps, unchanged, does not wake it. In local mode no app sleeps.

    Args:
        replicas: A number, or a pair (least, most); 0 is the same as (0, 1).
        metric: What is one replica's share: ``Scaling.Concurrency(n)`` or ``Scaling.RequestRate(n)``. Default: 10
            requests at one time.
        policy: Instead of a metric, a function of your own: it is given :class:`Signals` once a second and returns how
            many replicas are needed; a broken number counts as the next whole one. It runs in a thread of a replica,
            with the app's packages and secrets, so it may ask a queue, and in another replica when that one has ended.
            What it returns is kept within ``replicas``, and fewer come only after ``scaledown_after``. An app that
            sleeps is woken by its next request, not by the policy. Where it raises, or has not returned for ten
            seconds, the number stays as it is, and ``flyteray get app NAME`` says why. Not of Flyte.
        scaledown_after: How long fewer replicas must have been enough before there are fewer: seconds or a timedelta.
            Default: a minute, and five without any request before there are none. Three seconds at least pass
            before that.
        schedule: Times at which ``replicas`` are others: ``Scaling.During(Cron("0 8 * * 1-5", "Europe/Berlin"),
            timedelta(hours=10), replicas=(2, 8))`` keeps two ready in working hours. Where several are at one time, the
            one that began last holds. Not of Flyte; in local mode it changes nothing.
        spare: So many processes wait, on each machine that has a replica, to be the next one there: they have loaded
            the app's code, so that a replica which is added, woken or replaced takes only what its ``on_startup`` and
            its parameters take. Each costs the memory of an import (a few hundred MiB with torch) and no CPU, also
            while the app sleeps. One that was taken, or has died, is followed by another one; all end with their
            version, and where the machine has less than a tenth of its memory left. What the module does at its top
            level is done in processes that may never serve, and can't call tasks or apps there: leave that, and
            connections, threads and ports, to ``on_startup``. Where the app has secrets its code is loaded when the
            process becomes a replica, as it may want the newest ones. Not for apps with accelerators or in containers.
            Not of Flyte; in local mode it changes nothing. Default: 0, as others on the machine may need the memory.
            Another number is a new version.

    Raises:
        TypeError: A field of a wrong type; a policy that can't be called with one argument, or that is async.
        ValueError: A negative number or time, more than 8 spare, a pair of another length, or a most that is below 1
            or below the least; a metric beside a policy, or a policy with nothing to choose from.
    """

    class Concurrency(Metric):
        """Requests and open connections at one time for each replica."""

    class RequestRate(Metric):
        """Requests a second for each replica."""

    class During(Window):
        """A time with bounds of its own, again and again; see ``schedule``."""

    replicas: int | tuple[int, int] = (0, 1)
    metric: Concurrency | RequestRate | None = None
    scaledown_after: int | timedelta | None = None
    schedule: Sequence[Window] = ()
    policy: Policy | None = None
    spare: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "replicas", _bounds(self.replicas))
        self._check_schedule()
        self._check_spare()
        if self.policy is not None:
            self._check_policy(self.policy)
        if self.metric is not None and not isinstance(
            self.metric, (Scaling.Concurrency, Scaling.RequestRate)
        ):
            raise TypeError(
                f"metric must be Scaling.Concurrency(...) or Scaling.RequestRate(...), got {self.metric!r}."
            )
        after = self.scaledown_after
        if after is None:
            return
        if isinstance(after, bool) or not isinstance(after, (int, timedelta)):
            raise TypeError(f"scaledown_after must be an int of seconds or a timedelta, got {after!r}.")
        span = timedelta(seconds=after) if isinstance(after, int) else after
        if span < timedelta():
            raise ValueError(f"scaledown_after must not be negative, got {after!r}.")
        object.__setattr__(self, "scaledown_after", span)

    def scaledown_after_s(self) -> float:
        """``scaledown_after`` in seconds."""
        after = self.scaledown_after
        return after.total_seconds() if isinstance(after, timedelta) else _SCALEDOWN_AFTER_S

    def sleeps_after_s(self, least: int | None = None) -> float | None:
        """After how many seconds without use there is no replica; None for an app that keeps one, or ``least``."""
        if (self.get_replicas()[0] if least is None else least) > 0:
            return None
        return _SLEEP_AFTER_S if self.scaledown_after is None else self.scaledown_after_s()

    def share(self) -> Metric:
        """The metric, or the one that counts where none is given."""
        return self.metric or Scaling.Concurrency(_CONCURRENCY)

    def _check_schedule(self) -> None:
        several = (self.schedule,) if isinstance(self.schedule, Window) else tuple(self.schedule)
        for each in several:
            if not isinstance(each, Window):
                raise TypeError(f"schedule must be a list of Scaling.During(...), got {each!r} in it.")
        object.__setattr__(self, "schedule", several)

    def _check_spare(self) -> None:
        if isinstance(self.spare, bool) or not isinstance(self.spare, int):
            raise TypeError(f"spare must be an int, got {self.spare!r}.")
        if not 0 <= self.spare <= _MOST_SPARE:
            raise ValueError(f"spare must be from 0 to {_MOST_SPARE}, got {self.spare!r}.")

    def _check_policy(self, policy: Policy) -> None:
        if not callable(policy):
            raise TypeError(f"policy must be a function of Signals, got {policy!r}.")
        if inspect.iscoroutinefunction(policy):
            raise TypeError(f"policy must not be async, as it is called in a thread: {policy!r}.")
        try:
            inspect.signature(policy).bind(Signals(0, 0))
        except TypeError as error:
            raise TypeError(
                f"policy is called with Signals alone, and {policy!r} can't be: {error}."
            ) from None
        except ValueError:
            pass  # a builtin that does not tell what it takes
        if self.metric is not None:
            raise ValueError(
                "policy decides by itself what the number of replicas follows: leave out the metric."
            )
        least, most = self.widest()
        if least == most:
            raise ValueError(
                f"policy has nothing to choose from, as replicas is {self.replicas!r}: give a pair (least, most)."
            )

    def widest(self) -> tuple[int, int]:
        """The least and the most at any time; the most is 1 where ``replicas`` is 0."""
        bounds = [self.get_replicas(), *(each.get_replicas() for each in self.schedule)]
        return min(least for least, _ in bounds), max(1, *(most for _, most in bounds))

    def get_replicas(self) -> tuple[int, int]:
        """The least and the most."""
        assert isinstance(self.replicas, tuple)
        return self.replicas


def _bounds(replicas: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(replicas, tuple):
        if len(replicas) != 2:
            raise ValueError(f"replicas as a tuple must be (min_replicas, max_replicas), got {replicas!r}.")
        least, most = (_whole(number, replicas) for number in replicas)
        if most < 1 or most < least:
            raise ValueError(
                f"max_replicas must be at least 1 and no less than min_replicas, got {replicas!r}."
            )
    else:
        least = most = _whole(replicas, replicas)
    if least < 0:
        raise ValueError(f"replicas must not be negative, got {replicas!r}.")
    return least, most


def _whole(number: object, given: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"replicas must be an int or a tuple of two ints, got {given!r}.")
    return number
