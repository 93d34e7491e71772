"""Each node of the connected cluster is asked once whether it fits: those that join later too.

A node fits that has the head's version of flyteray and the cluster's storage.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flyteray._actors.controller import SharedStorage as SharedStorageDoor
from flyteray._cluster import nodes
from flyteray._plan.sharing import Problem, refusal
from flyteray._version import __version__
from flyteray.errors import StorageError, StorageTakenError
from flyteray.storage import Storage, open_storage, owner, proof
from flyteray.storage.owner import Claim

_NODES_EVERY_S = 5.0
_ANSWER_S = 30.0  # a node that is silent for longer will be asked again: nothing can begin there meanwhile
_REMEMBERED = 64  # folders of users

logger = logging.getLogger(__name__)


class SharedStorage(SharedStorageDoor):
    """The storage of a cluster, or a folder of a user's, and the nodes that have proved that they have it.

    Of the cluster's storage ``claim`` makes sure that it is no other cluster's.
    """

    def __init__(self, storage: Storage, claim: Claim | None) -> None:
        self._storage = storage
        self._claim = claim
        self._taken: StorageTakenError | None = None
        self._others: OrderedDict[str, SharedStorage] = OrderedDict()
        self._proved: set[str] = set()
        self._problems: dict[str, Problem] = {}  # by node
        self._has_asked = False
        self._asking = asyncio.Lock()

    async def prove(self, node: str | None = None, place: str | None = None) -> None:
        await self._prove(node)
        if place is None or "://" in place or Path(place).is_relative_to(self._storage.url):
            return  # a bucket is the same everywhere
        if len(nodes.addresses()) > 1:
            other = self._others.setdefault(place, SharedStorage(open_storage(place), claim=None))
            self._others.move_to_end(place)
            while len(self._others) > _REMEMBERED:
                self._others.popitem(last=False)
            await other._ask_all()  # its nodes are followed by nobody
            await other._prove(node)

    async def _prove(self, node: str | None) -> None:
        if self._taken is not None:
            raise self._taken.with_traceback(None)
        if node in self._proved or (node is None and self._has_asked and not self._problems):
            return
        await self._ask_all()
        while (
            node is not None
            and node in nodes.addresses()
            and node not in self._proved | self._problems.keys()
        ):
            await self._ask_all()
        problems = [found for each, found in self._problems.items() if node in (None, each)]
        if problems:
            raise refusal(self._storage.url, __version__, problems, of_user=self._claim is None)

    async def follow_nodes(self) -> None:
        """Ask nodes that join, once anybody has asked, for as long as the process lives."""
        while True:
            await asyncio.sleep(_NODES_EVERY_S)
            try:
                if self._has_asked and nodes.addresses().keys() - self._proved - self._problems.keys():
                    await self._ask_all()
            except (RayError, StorageError) as error:
                logger.warning(
                    "New nodes could not be asked for their storage; they are asked again: %s", error
                )

    async def hold_on(self) -> None:
        """Renew the claim of the cluster for as long as the process lives.

        It begins when anybody has asked, or has asked an earlier process: what that had started goes on by itself.
        """
        claim = self._claim
        while claim is not None:
            await asyncio.sleep(owner.RENEW_S)
            try:
                if self._has_asked or await asyncio.to_thread(claim.is_held):
                    await asyncio.to_thread(claim.hold)
                    self._taken = None
            except StorageTakenError as error:
                self._taken = error
                logger.warning("%s", error)
            except StorageError as error:
                logger.warning("The claim to the storage is renewed later: %s", error)

    async def _ask_all(self) -> None:
        async with self._asking:
            if not self._has_asked and self._claim is not None:
                await asyncio.to_thread(self._claim.hold)
            living = nodes.addresses()
            self._proved &= living.keys()
            asked = living.keys() - self._proved
            self._problems = {node: found for node, found in self._problems.items() if node in asked}
            if asked:
                token = await asyncio.to_thread(proof.offer, self._storage)
                try:
                    await asyncio.gather(*(self._ask(node, living[node], token) for node in asked))
                finally:
                    await asyncio.to_thread(proof.withdraw, self._storage, token)
            self._has_asked = True

    async def _ask(self, node: str, address: str, token: str) -> None:
        try:
            problem = await self._answer(node, address, token)
        except (asyncio.TimeoutError, RayError) as error:
            logger.warning("Node %s did not say whether it has the storage: %r", address, error)
            return
        self._problems.pop(node, None)
        if problem is None:
            self._proved.add(node)
        else:
            self._problems[node] = problem
            logger.warning("Node %s does not fit: %s", address, problem)

    async def _answer(self, node: str, address: str, token: str) -> Problem | None:
        question = self._storage.url, token
        if node == ray.get_runtime_context().get_node_id():
            reason = await asyncio.to_thread(proof.problem_here, *question)
            return None if reason is None else Problem(address, reason)
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = ray.remote(_question()).options(num_cpus=0, scheduling_strategy=there, max_retries=2)
        try:
            version, reason = await asyncio.wait_for(task.remote(__version__, *question), _ANSWER_S)
        except RayTaskError as error:
            reason = str(error.cause).strip().rpartition("\n")[2]
            return Problem(address, f"none that runs: {reason}", of_flyteray=True)
        if version != __version__:
            return Problem(address, version, of_flyteray=True)
        return None if reason is None else Problem(address, reason)


def _question() -> Callable[[str, str, str], tuple[str, str | None]]:
    """What to ask a node: a function that Ray sends as it is, because the node may have any flyteray, or none."""

    def answer(version: str, url: str, token: str) -> tuple[str, str | None]:
        from flyteray._version import __version__  # deferred: it is that of the node

        if __version__ != version:
            return __version__, None
        from flyteray.storage import proof  # deferred: of the same version

        return version, proof.problem_here(url, token)

    return answer
