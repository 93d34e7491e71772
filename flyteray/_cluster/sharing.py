"""Each node of the connected cluster is asked once whether it has the cluster's storage, those that join later too."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flyteray._actors.controller import SharedStorage as SharedStorageDoor
from flyteray._cluster import nodes
from flyteray._plan import sharing
from flyteray.errors import StorageError, StorageNotSharedError, StorageTakenError
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
        self._problems: dict[str, tuple[str, str]] = {}  # address and reason by node
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
            raise self._taken
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
            raise StorageNotSharedError(
                sharing.not_shared(self._storage.url, problems, of_user=self._claim is None)
            )

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
        """Renew the claim, once anybody has asked, for as long as the process lives."""
        while True:
            await asyncio.sleep(owner.RENEW_S)
            if self._has_asked and self._claim is not None:
                try:
                    await asyncio.to_thread(self._claim.hold)
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
            problem = await self._answer(node, token)
        except (asyncio.TimeoutError, RayError) as error:
            logger.warning("Node %s did not say whether it has the storage: %r", address, error)
            return
        self._problems.pop(node, None)
        if problem is None:
            self._proved.add(node)
        else:
            self._problems[node] = address, problem
            logger.warning("Node %s does not have storage %s: %s", address, self._storage.url, problem)

    async def _answer(self, node: str, token: str) -> str | None:
        question = self._storage.url, token
        if node == ray.get_runtime_context().get_node_id():
            return await asyncio.to_thread(proof.problem_here, *question)
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = ray.remote(proof.problem_here).options(num_cpus=0, scheduling_strategy=there, max_retries=2)
        try:
            answer: str | None = await asyncio.wait_for(task.remote(*question), _ANSWER_S)
        except RayTaskError as error:
            return f"flyteray can't run there: {str(error.cause).strip().rpartition(chr(10))[2]}"
        return answer
