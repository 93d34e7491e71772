"""A digest names a value by its content: equal in every process, whatever order a set or a dict has there.

It follows what pickle would follow, so that whatever can be sent to a task has a digest, and large buffers are
hashed where they lie.
"""

from __future__ import annotations

import copyreg
import hashlib
import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import xxhash

from flyteray._declare.tasks.task import Task
from flyteray._declare.transformer import transformers
from flyteray._plan.values.carried import by_transformer
from flyteray.io.dataframe import DataFrame
from flyteray.io.location import Location
from flyteray.storage import tensors

_SIZE = 16  # bytes
_LARGE = 4096  # bytes of a buffer from which it is hashed by the quicker function
_LENGTH = struct.Struct("<Q")


def digest(value: object, content: Callable[[Location[Any]], str] | None = None) -> str:
    """The digest of a value: 32 hex characters.

    Arrays, tables and frames count by their content, a File or Dir by what ``content`` names it, without which that is
    its ``hash`` or else its path, as is a DataFrame that lies in storage; a class or function by its name, a lambda or
    nested function by its code and what it uses.

    Raises:
        TypeError: The value or a part of it can't be pickled, so that nothing tells what its content is.
    """
    if type(value) is dict and (flat := _flat(value)) is not None:
        return hashlib.blake2b(flat, digest_size=_SIZE).hexdigest()
    found = _Digest({}, content or _hash_or_path)
    found.add(value)
    return found.result.hex()


class _Digest:
    """A digest in the making. ``above`` are the values that this one is in: a cycle is told as the way back."""

    def __init__(self, above: dict[int, int], content: Callable[[Location[Any]], str]) -> None:
        self._hash = hashlib.blake2b(digest_size=_SIZE)
        self._above = above
        self._content = content

    @property
    def result(self) -> bytes:
        return self._hash.digest()

    def add(self, value: Any) -> None:
        """Take in a value."""
        if (simple := _simple(value)) is not None:
            self._hash.update(simple)
            return
        known = self._above.get(id(value))
        if known is not None:
            self._feed("again", _LENGTH.pack(len(self._above) - known))
            return
        self._above[id(value)] = len(self._above)
        try:
            self._add_compound(type(value), value)
        finally:
            del self._above[id(value)]

    def _add_compound(self, kind: type, value: Any) -> None:
        if kind in (list, tuple):
            self._ordered(kind.__name__, value)
        elif kind is dict:
            self._unordered("dict", value.items())
        elif kind in (set, frozenset):
            self._unordered(kind.__name__, value)
        elif kind in (bytearray, memoryview, pickle.PickleBuffer):
            self._buffer(kind.__name__, memoryview(value))
        elif isinstance(value, Enum):
            self._feed("enum", _named(kind), value.name.encode())
        elif isinstance(value, Location):
            self._feed("place", _named(kind), self._content(value).encode(), value.format.encode())
        elif isinstance(value, DataFrame) and (place := value.location()) is not None:
            self._feed("table", self._content(place).encode(), value.format.encode())
        elif isinstance(value, Task):
            self._feed("task", value.name.encode())
        elif isinstance(value, (type, ModuleType, BuiltinFunctionType)):
            self._feed("name", _named(value))
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, CodeType):
            self._code(value)
        elif _is_of("pandas", "DataFrame", value):
            self._frame(value)
        elif _is_of("pandas", "Series", value):
            self._ordered("series", (value.name,))
            self._index(value.index)
            self._column(value)
        elif _is_of("pyarrow", "Table", value):
            self._table(value)
        elif tensors.is_memory(value):
            self._feed("tensor", str(getattr(value, "dtype", "")))
            self._buffer("memory", memoryview(tensors.content(value)))
        elif (transformer := transformers().find(kind)) is not None:
            self._reduced(by_transformer(transformer, kind, value))
        else:
            self._reduced(value)

    def _feed(self, *parts: str | bytes) -> None:
        """Take in parts, each with its length."""
        self._hash.update(_joined(*parts))

    def _ordered(self, tag: str, values: Iterable[Any]) -> None:
        members = list(values)
        self._feed(tag, _LENGTH.pack(len(members)))
        for member in members:
            self.add(member)

    def _unordered(self, tag: str, values: Iterable[Any]) -> None:
        self._feed(tag, *sorted(self._apart(member) for member in values))

    def _apart(self, value: Any) -> bytes:
        if type(value) is tuple and len(value) == 2 and (pair := _pair(*value)) is not None:
            return pair
        part = _Digest(self._above, self._content)
        part.add(value)
        return part.result

    def _buffer(self, tag: str, view: memoryview) -> None:
        data = view.cast("B") if view.contiguous and view.nbytes else view.tobytes()
        if len(data) < _LARGE:
            self._feed(tag, bytes(data))
        else:
            self._feed(tag, _LENGTH.pack(len(data)), xxhash.xxh3_128_digest(data))

    def _function(self, function: FunctionType) -> None:
        name = function.__qualname__
        if "<" not in name and _found(function.__module__, name) is function:
            self._feed("name", _named(function))
            return
        self._feed("function")
        self.add(function.__code__)
        cells = [_content(cell) for cell in function.__closure__ or ()]
        named = function.__code__.co_names
        used = {each: function.__globals__[each] for each in named if each in function.__globals__}
        self._ordered("uses", (function.__defaults__, function.__kwdefaults__, cells, used))

    def _code(self, code: CodeType) -> None:
        self._ordered(
            "code", (code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars)
        )

    def _reduced(self, value: Any) -> None:
        """Take in what pickle would make the value of again."""
        reduce = copyreg.dispatch_table.get(type(value))
        made = reduce(value) if reduce is not None else value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if isinstance(made, str):
            self._feed("name", made)
            return
        function, arguments, state, members, items = (*made, None, None, None)[:5]
        self._ordered("object", (function, arguments, state, members and list(members)))
        self._unordered("items", items or ())

    def _frame(self, frame: Any) -> None:
        self._ordered("frame", (list(frame.columns), frame.attrs))
        self._index(frame.index)
        for position in range(frame.shape[1]):
            self._column(frame.iloc[:, position])

    def _index(self, index: Any) -> None:
        self._ordered("index", index.names)
        for level in range(index.nlevels):
            self._column(index.get_level_values(level).to_series())

    def _column(self, column: Any) -> None:
        self._feed("column", str(column.dtype))
        values = column.array
        if column.dtype.kind in "biufcmM" and hasattr(values, "to_numpy") and not hasattr(values, "_mask"):
            self.add(column.to_numpy())
        else:  # texts, categories, whatever else: equal ones may be made of other parts
            self._ordered("values", values)

    def _table(self, table: Any) -> None:
        pyarrow: Any = sys.modules["pyarrow"]
        sink = _Sink()
        # As one chunk: how many a table has is nothing of its content.
        with pyarrow.ipc.new_stream(pyarrow.PythonFile(sink, mode="w"), table.schema) as stream:
            stream.write_table(table.combine_chunks())
        self._feed("table", sink.hash.digest())


def _hash_or_path(place: Location[Any]) -> str:
    return place.hash or place.path


class _Sink:
    """A file that hashes what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.hash = xxhash.xxh3_128()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.hash.update(view)
        return view.nbytes

    def flush(self) -> None:
        """Nothing is held back."""


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _joined(*parts: str | bytes) -> bytes:
    """Parts, each behind its length."""
    return b"".join(map(_sized, parts))


def _sized(part: str | bytes) -> bytes:
    """A part behind its length: no two lists of parts are the same bytes."""
    data = part.encode() if isinstance(part, str) else part
    return _LENGTH.pack(len(data)) + data


_ENCODED: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"",
    bool: lambda value: b"1" if value else b"0",
    int: lambda value: hex(value).encode(),  # of any length
    float: lambda value: struct.pack("<d", value),
    complex: lambda value: struct.pack("<dd", value.real, value.imag),
    str: _text,
    bytes: lambda value: value if len(value) < _LARGE else xxhash.xxh3_128_digest(value),
    type(Ellipsis): lambda value: b"...",
}
_SIMPLE = {kind: (_sized(kind.__name__), encoded) for kind, encoded in _ENCODED.items()}
_FLAT = _sized("flat")
_PAIR = _sized("tuple") + _sized(_LENGTH.pack(2))  # how a tuple of two begins


def _flat(value: dict[Any, Any]) -> bytes | None:
    """What is taken in of a dict whose keys and values have no parts, as those of most inputs; None of any other."""
    members = []
    for key, held in value.items():
        one, other = _simple(key), _simple(held)
        if one is None or other is None:
            return None
        members.append(one + other)
    return b"".join((_FLAT, *sorted(members)))


def _pair(first: Any, second: Any) -> bytes | None:
    """The digest of a tuple of two that have no parts; None where one has some."""
    one, other = _simple(first), _simple(second)
    return (
        None
        if one is None or other is None
        else hashlib.blake2b(_PAIR + one + other, digest_size=_SIZE).digest()
    )


def _simple(value: Any) -> bytes | None:
    """What is taken in of a value that has no parts; None where it has some."""
    known = _SIMPLE.get(type(value))
    if known is None:
        return None
    name, encoded = known
    data = encoded(value)
    return name + _LENGTH.pack(len(data)) + data


def _named(value: Any) -> bytes:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}".encode()


def _is_of(package: str, name: str, value: object) -> bool:
    """Whether a value is of a class of a package, which is loaded where there is such a value."""
    module = sys.modules.get(package)
    return module is not None and isinstance(value, getattr(module, name))


def _found(module: str | None, name: str) -> object:
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of a function that calls itself, before it is bound
        return None
