"""Web interfaces that remember their visitors."""

from __future__ import annotations

from flyteray.app.scaling import Scaling


def check_one_replica(owner: str, scaling: Scaling) -> None:
    """Refuse replicas beside the one that a visitor's page talks to.

    Raises:
        ValueError: More than one replica is asked for.
    """
    _, most = scaling.get_replicas()
    if most > 1:
        raise ValueError(
            f"{owner} keeps what its visitors have done in the memory of one replica, and their next request may "
            f"reach another: use Scaling(replicas=1), not {scaling.replicas!r}. Let heavy work run in tasks, or in an "
            "app of its own with as many replicas as it needs."
        )
