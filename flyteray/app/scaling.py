"""How many replicas an app has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scaling:
    """How many replicas an app has.

    The number is held at the lower bound, but at least 1, until autoscaling lands.

    Args:
        replicas: A number, or a pair (least, most).

    Raises:
        TypeError: Neither an int nor a pair of ints.
        ValueError: A negative number, a pair of another length, or a most that is below 1 or below the least.
    """

    replicas: int | tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if isinstance(self.replicas, tuple):
            if len(self.replicas) != 2:
                raise ValueError(
                    f"replicas as a tuple must be (min_replicas, max_replicas), got {self.replicas!r}."
                )
            least, most = (_whole(number, self.replicas) for number in self.replicas)
            if most < 1 or most < least:
                raise ValueError(
                    f"max_replicas must be at least 1 and no less than min_replicas, got {self.replicas!r}."
                )
        else:
            least = most = _whole(self.replicas, self.replicas)
        if least < 0:
            raise ValueError(f"replicas must not be negative, got {self.replicas!r}.")
        object.__setattr__(self, "replicas", (least, most))

    def get_replicas(self) -> tuple[int, int]:
        """The least and the most."""
        assert isinstance(self.replicas, tuple)
        return self.replicas


def _whole(number: object, given: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"replicas must be an int or a tuple of two ints, got {given!r}.")
    return number
