"""Kinds of spares are wanted for as long as Serve is asked for replicas of them: the cluster has their names."""

from __future__ import annotations

import logging

import ray
from ray.experimental import internal_kv

_NAMESPACE = b"flyteray-spares"
_ANSWER_S = 10.0

logger = logging.getLogger(__name__)


def want(kind: str) -> None:
    """Have spares of a kind wait; on a cluster that returns they are no longer wanted until this is called again."""
    internal_kv._internal_kv_put(kind.encode(), b"", overwrite=True, namespace=_NAMESPACE)


def want_no_more(kind: str) -> None:
    """Have all spares of a kind end; fine where it has none."""
    internal_kv._internal_kv_del(kind.encode(), namespace=_NAMESPACE)


def is_wanted(kind: str) -> bool:
    """Whether spares of a kind are to wait on; also as long as the cluster does not say.

    A spare asks it, of which Ray knows no job: this is no call of an actor.
    """
    try:
        known: bool = ray._private.worker.global_worker.gcs_client.internal_kv_exists(
            kind.encode(), _NAMESPACE, _ANSWER_S
        )
        return known
    except Exception as error:  # noqa: BLE001  # the head is away: it will tell later
        logger.info("Whether spare processes are wanted is not known: %r", error)
        return True
