"""Nodes that have another flyteray than the head, or another storage, are named, with the ways out. No effects here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from flyteray.errors import BaseRuntimeError, ClusterError, StorageNotSharedError

_SHOWN = 4  # nodes of one kind


@dataclass(frozen=True)
class Problem:
    """What is wrong with the node of an address: with its storage, or ``of_flyteray`` that runs there."""

    address: str
    reason: str
    of_flyteray: bool = False

    def __str__(self) -> str:
        return f"{'its flyteray' if self.of_flyteray else 'its storage'}: {self.reason}"


def refusal(
    storage: str, version: str, problems: Collection[Problem], of_user: bool = False
) -> BaseRuntimeError:
    """The error for nodes that don't fit a cluster of this storage, whose head has this version of flyteray.

    ``of_user`` says that the storage is none of the cluster's but where somebody wants files to go.
    """
    if others := [problem for problem in problems if problem.of_flyteray]:
        return ClusterError(other_flyteray(version, others))
    return StorageNotSharedError(not_shared(storage, problems, of_user))


def other_flyteray(version: str, problems: Iterable[Problem]) -> str:
    """What to tell of nodes that have another flyteray than the head, which has this version."""
    told = "; ".join(f"{nodes} ({reason})" for reason, nodes in _by_reason(problems).items())
    return (
        f"Not all nodes of the cluster run flyteray {version}, as its head does: {told}. On each of them install "
        f"flyteray=={version} in the Python that Ray was started with and start Ray there anew, or take the node out "
        "of the cluster."
    )


def not_shared(storage: str, problems: Iterable[Problem], of_user: bool = False) -> str:
    """What to tell of a storage and of nodes that don't have it; ``of_user`` as in :func:`refusal`."""
    told = "; ".join(f"{nodes} ({reason})" for reason, nodes in _by_reason(problems).items())
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


def _by_reason(problems: Iterable[Problem]) -> dict[str, str]:
    """The addresses of the nodes, in words, by what is wrong there."""
    nodes: defaultdict[str, list[str]] = defaultdict(list)
    for problem in problems:
        nodes[problem.reason].append(problem.address)
    return {reason: _listed(sorted(there)) for reason, there in nodes.items()}


def _listed(addresses: list[str]) -> str:
    more = len(addresses) - _SHOWN
    return ", ".join(addresses[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
