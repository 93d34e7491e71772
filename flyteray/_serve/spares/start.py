"""A spare process is started by the raylet of the machine, at the wish of a replica of its kind."""

from __future__ import annotations

import logging
import os
import time

import ray
from ray._common.utils import get_system_memory
from ray._private.grpc_utils import init_grpc_channel
from ray._private.utils import get_used_memory
from ray.core.generated.common_pb2 import Language
from ray.core.generated.node_manager_pb2 import PrestartWorkersRequest
from ray.core.generated.node_manager_pb2_grpc import NodeManagerServiceStub
from ray.core.generated.runtime_environment_pb2 import RuntimeEnvInfo

from flyteray._declare.this_cluster import ENDPOINT_PATTERN
from flyteray._plan.spares import BLANK
from flyteray._plan.spec import AppSpec
from flyteray._serve.spares import wanted
from flyteray._serve.spares.slots import Slots, Told
from flyteray._traces.asked import variables_in

logger = logging.getLogger(__name__)

_FOR_EVER_S = 10**9
_ANSWER_S = 10.0
_LOOK_S = 10.0  # from one look whether there are enough to the next
_LONGEST_S = 600.0
_STARTED_S = 30.0  # for those that are started to be seen
_STARTING_S = 0.2
_AMPLE = 80.0  # percent of the machine's memory that may be taken when one is started
_SHORT = 90.0  # and while it waits


def keep_up(kind: str, spec: AppSpec, runtime_env: str) -> None:
    """See to it, while this replica lives and its kind is wanted, that there are as many spares as there should be.

    ``kind`` is "" where there are none, and ``runtime_env`` is that of this process, word for word. What fails is
    logged, for a replica does without them; those that end again and again are started ever less often.
    """
    if not kind:
        return
    slots, pause_s = Slots(kind), _LOOK_S
    pattern = os.environ.get(ENDPOINT_PATTERN, "")
    told = Told(spec=spec, endpoint_pattern=pattern, traces=variables_in(os.environ))
    while kind == BLANK or wanted.is_wanted(kind):
        try:
            slots.tell(told)
            pause_s = min(2 * pause_s, _LONGEST_S) if _fill(slots, runtime_env) else _LOOK_S
        except Exception:
            logger.warning("No spare process could be started for the next replica.", exc_info=True)
            pause_s = min(2 * pause_s, _LONGEST_S)
        time.sleep(pause_s)


def _fill(slots: Slots, runtime_env: str) -> bool:
    """Have spares started where there are too few; whether it was so."""
    with slots.filling() as mine:
        if not mine or not (free := slots.free()) or _taken_memory() > _AMPLE:
            return False
        _start(runtime_env, free)
        deadline = time.monotonic() + _STARTED_S
        while slots.free() and time.monotonic() < deadline:
            time.sleep(_STARTING_S)
        return True


def _start(runtime_env: str, number: int) -> None:
    """Have the raylet of this machine start processes that nobody has asked for."""
    node = ray._private.worker.global_worker.node
    channel = init_grpc_channel(f"{node.node_ip_address}:{node.node_manager_port}")
    request = PrestartWorkersRequest(
        language=Language.PYTHON,
        runtime_env_info=RuntimeEnvInfo(serialized_runtime_env=runtime_env),
        keep_alive_duration_secs=_FOR_EVER_S,
        num_workers=number,
    )
    try:
        NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=_ANSWER_S)
    finally:
        channel.close()


def memory_is_short() -> bool:
    """Whether this machine has no memory for processes that nobody has asked for."""
    return _taken_memory() > _SHORT


def _taken_memory() -> float:
    """In percent, as Ray's memory monitor sees it, which ends workers: where there is one, of the container."""
    taken: float = 100 * get_used_memory() / get_system_memory()
    return taken
