"""A reuse policy says how many warm processes an environment keeps for its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

_SHORTEST = timedelta(seconds=30)


@dataclass(frozen=True)
class ReusePolicy:
    """The number of warm processes that an environment keeps for its tasks.

    What modules have loaded is there for the next call. A call that waits for another one gives its place to others, so
    tasks that call tasks of their own environment never wait for themselves. A process holds the GPUs, the memory and
    the other resources that its environment asks for as long as it lives; CPUs are not reserved for it. Sync tasks run
    on a thread beside the main one. In local mode all calls are in the one process that there is.

    Args:
        replicas: A number, or a pair (least, most).
        idle_ttl: How long none of them may be in use before all end: seconds or a timedelta, 30 seconds at least.
        concurrency: Calls at one time in each; more than one for async tasks only.
        scaledown_ttl: How long one must be idle before it ends, in the same units.
        scope: ``"global"``: for all runs. ``"run"``: for one run alone.

    Raises:
        ValueError: A value that is none of these.
    """

    replicas: int | tuple[int, int] = 2
    idle_ttl: int | timedelta = 30
    concurrency: int = 1
    scaledown_ttl: int | timedelta = 30
    scope: Literal["global", "run"] = "global"

    def __post_init__(self) -> None:
        if self.scope not in ("global", "run"):
            raise ValueError(f'ReusePolicy scope must be "global" or "run", got {self.scope!r}.')
        given = self.replicas
        pair = given if isinstance(given, tuple) else (given, given)
        if len(pair) != 2 or not all(_is_whole(number) and number >= 0 for number in pair):
            raise ValueError(
                f"ReusePolicy replicas must be an int or a tuple of two ints, none of them negative, got {given!r}."
            )
        if pair[1] == 0:
            raise ValueError(
                f"ReusePolicy replicas: {given!r} leaves no process to run a call; the most is 1 or more."
            )
        if pair[0] > pair[1]:
            raise ValueError(f"ReusePolicy replicas: the least is more than the most in {given!r}.")
        object.__setattr__(self, "replicas", pair)
        if not _is_whole(self.concurrency) or self.concurrency < 1:
            raise ValueError(
                f"ReusePolicy concurrency must be an int of 1 or more, got {self.concurrency!r}."
            )
        for name in ("idle_ttl", "scaledown_ttl"):
            time = getattr(self, name)
            span = timedelta(seconds=time) if _is_whole(time) else time
            if not isinstance(span, timedelta):
                raise ValueError(
                    f"ReusePolicy {name} must be an int of seconds or a timedelta, got {time!r}."
                )
            if span < _SHORTEST:
                raise ValueError(f"ReusePolicy {name} must be 30 seconds at least, got {time!r}.")
            object.__setattr__(self, name, span)

    @property
    def min_replicas(self) -> int:
        """The least."""
        assert isinstance(self.replicas, tuple)
        return self.replicas[0]

    @property
    def max_replicas(self) -> int:
        """The most."""
        assert isinstance(self.replicas, tuple)
        return self.replicas[1]

    def get_idle_ttl(self) -> timedelta:
        """:attr:`idle_ttl` as a timedelta."""
        assert isinstance(self.idle_ttl, timedelta)
        return self.idle_ttl

    def get_scaledown_ttl(self) -> timedelta:
        """:attr:`scaledown_ttl` as a timedelta."""
        assert isinstance(self.scaledown_ttl, timedelta)
        return self.scaledown_ttl


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
