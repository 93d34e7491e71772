"""A value is pickled for another process of the cluster: Ray carries its large buffers without a copy.

In Ray a value dies with the process that owns it, and a run must outlive the one that asked for it. Sent from process
to process, its inputs would be copied by each; large ones go through storage, written once and mapped by the worker.
The inputs of an action are recorded, too: small ones with what happens to it, larger ones in storage, huge ones not; so
is its task, once for all of its actions of a run.
"""

from __future__ import annotations

import io
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyteray._declare.loading import loads
from flyteray.storage import copy_on_write, open_storage
from flyteray.storage.pickler import Pickler, plainly, unpicklable_part
from flyteray.storage.values import read_value, write_pickled

# A pickle of today's protocol without it names no class or function: it runs no code.
_NAMES = pickle.STACK_GLOBAL
RELAYED = 2**20  # bytes that are sent from process to process: copying them costs less than a file
INLINE = 4096  # bytes that travel with an event and are kept in the registry
LARGEST = 16 << 20  # bytes that are worth a file for each action


@dataclass(frozen=True)
class Payload:
    """A pickled value: as an argument of an actor call its ``buffers`` go through shared memory.

    It can be sent on by who has received it; each process that it passes through makes a copy of its own.
    """

    header: bytes
    buffers: list[Any]

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return len(self.header) + sum(memoryview(buffer).nbytes for buffer in self.buffers)

    def __reduce__(self) -> tuple[Any, ...]:
        # Made anew: the buffers that arrive somewhere are views of Ray's own, which don't pickle.
        return Payload, (self.header, [pickle.PickleBuffer(buffer) for buffer in self.buffers])


class Own:
    """A value that stays flyteray's to pickle, also where Ray pickles what it is in; it arrives as the value itself.

    Ray's own copy of cloudpickle would make each class that travels by value a new one in every process.
    """

    def __init__(self, value: object) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return load, (dump(self._value, "output"),)


def dump(value: object, name: str = "value") -> Payload:
    """Pickle a value; its buffers are views of the value's own memory, so don't change it until it was sent.

    TypeError where it or a part of it can't be pickled; the message says which, and calls the value ``name``.
    """
    if (plain := plainly(value)) is not None:
        return Payload(plain, [])
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    try:
        Pickler(file, buffer_callback=buffers.append).dump(value)
    except Exception as error:
        path, part = unpicklable_part(value, name)
        raise TypeError(
            f"{path} is a {type(part).__module__}.{type(part).__qualname__}, which can't be pickled to send "
            f"it to another process ({error}). Leave it out, or make it where it is used."
        ) from error
    return Payload(file.getvalue(), buffers)


def load(payload: Payload) -> Any:
    """The value again; arrays in it are read-only views of the payload's buffers.

    ModuleLoadError where a class or function of it can't be found in this process, or the module that has it would
    start something on a cluster.
    """
    if _NAMES in payload.header:
        with loads().loading(), copy_on_write.reading(payload.buffers):
            return pickle.loads(payload.header, buffers=payload.buffers)
    return pickle.loads(payload.header, buffers=payload.buffers)


def returning(value: object) -> bytes | tuple[object]:
    """A value as a worker returns it: Ray carries the bytes of a small one faster than it pickles it itself."""
    plain = plainly((value,))
    return (value,) if plain is None else plain


def returned(reply: bytes | tuple[object]) -> Any:
    """The value again that :func:`returning` has sent."""
    (value,) = pickle.loads(reply) if isinstance(reply, bytes) else reply
    return value


def inline(inputs: Payload) -> bytes | None:
    """Inputs as they are kept in the registry; None where they are too large for that."""
    return inputs.header if not inputs.buffers and len(inputs.header) <= INLINE else None


def in_storage(inputs: Payload) -> bool:
    """Whether the inputs of an action are kept in storage: they are too large to travel, and not huge."""
    return inline(inputs) is None and inputs.nbytes <= LARGEST


def inputs_key(request: str) -> str:
    """Where in storage the inputs of a run are."""
    return f"inputs/{request}"


def input_key(run: str, action: str) -> str:
    """Where in storage the inputs of an action are that are kept there."""
    return f"runs/{run}/{action}/inputs"


def task_key(run: str, task: str) -> str:
    """Where in storage the spec is of a task whose actions a run has."""
    return f"runs/{run}/tasks/{task}"


def store(payload: Payload, root: str, key: str) -> Payload:
    """Put a pickled value into the storage at ``root``; what is returned loads as the same value, anywhere."""
    write_pickled(
        open_storage(root), key, payload.header, [pickle.PickleBuffer(each) for each in payload.buffers]
    )
    return stored(root, key)


def stored(root: str, key: str) -> Payload:
    """The value that :func:`store` has put there."""
    return dump(_Stored(root, key))


class _Stored:
    """Pickled it is a place in storage; unpickled it is the value there."""

    def __init__(self, root: str, key: str) -> None:
        self._place = root, key

    def __reduce__(self) -> tuple[Any, ...]:
        return _read, self._place


def _read(root: str, key: str) -> Any:
    with tempfile.TemporaryDirectory(prefix="flyteray-") as copies:  # a mapped file may go
        return read_value(open_storage(root), key, Path(copies))
