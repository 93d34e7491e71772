"""Nodes that don't have the cluster's storage are named, with the ways out. No effects here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

_SHOWN = 4  # nodes of one kind


def not_shared(storage: str, problems: Iterable[tuple[str, str]], of_user: bool = False) -> str:
    """What to tell of a storage and of nodes that don't have it, each by its address and what is wrong there.

    ``of_user`` says that it is none of the cluster's but where somebody wants files to go.
    """
    nodes: defaultdict[str, list[str]] = defaultdict(list)
    for address, problem in problems:
        nodes[problem].append(address)
    told = "; ".join(f"{_listed(sorted(there))} ({problem})" for problem, there in nodes.items())
    if "://" in storage:
        return (
            f"Storage {storage} can't be used by every node of the cluster, not by {told}. Start Ray there with the "
            "same variables for it as on the head (help(flyteray.storage.open_storage) lists them)."
        )
    other = "give raw_data_path=" if of_user else "start the cluster anew with FLYTERAY_STORAGE="
    return (
        f"Storage {storage} is not the same folder on all nodes of the cluster, so what they write there would be "
        f"lost. Another than the head's: {told}. Mount a shared file system at that path on every node and try again, "
        f"or {other}s3://bucket/path (gs://, az://)."
    )


def _listed(addresses: list[str]) -> str:
    more = len(addresses) - _SHOWN
    return ", ".join(addresses[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
