from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from flyteray.errors import ResultSerializationError, RuntimeSystemError
from flyteray.storage import Storage, open_storage
from flyteray.storage.objects import ObjectStorage
from flyteray.storage.values import read_value, write_value


@dataclass
class Model:
    weights: np.ndarray
    bias: np.ndarray
    name: str


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def test_a_value_comes_back_with_its_arrays_as_read_only_views(storage: Storage, tmp_path: Path) -> None:
    model = Model(np.arange(10_000.0), np.arange(3), "m")

    size = write_value(storage, "runs/r/0", model)
    back = read_value(storage, "runs/r/0", tmp_path)

    assert size == (tmp_path / "runs/r/0").stat().st_size
    assert back.name == "m"
    np.testing.assert_array_equal(back.weights, model.weights)
    np.testing.assert_array_equal(back.bias, model.bias)
    assert not back.weights.flags.writeable
    assert not back.bias.flags.writeable


def test_large_buffers_start_on_a_page_and_small_ones_on_a_cache_line(
    storage: Storage, tmp_path: Path
) -> None:
    value = [np.ones(3), np.ones(5000), np.ones(1), np.ones(700)]

    write_value(storage, "v", value)
    addresses = [array.__array_interface__["data"][0] for array in read_value(storage, "v", tmp_path)]

    assert [address % 64 for address in addresses] == [0, 0, 0, 0]
    assert [addresses[1] % 4096, addresses[3] % 4096] == [0, 0]


def test_reading_a_large_array_takes_no_private_memory(storage: Storage, tmp_path: Path) -> None:
    megabytes = 200
    write_value(storage, "v", np.ones(megabytes * 2**20, dtype=np.uint8))
    code = f"""
import re
from pathlib import Path
from flyteray.storage import Storage, open_storage
from flyteray.storage.values import read_value
import numpy
def private(): return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = private()
value = read_value(open_storage({str(tmp_path)!r}), "v", Path({str(tmp_path)!r}))
assert value.sum() == {megabytes} * 2**20
print(private() - before)
"""
    grown = int(subprocess.check_output([sys.executable, "-c", code]))

    assert grown < 20, f"{grown} MiB of private memory for {megabytes} MiB read"


def test_writing_a_large_array_makes_no_second_copy(storage: Storage) -> None:
    megabytes = 200
    code = f"""
import resource
import numpy
from flyteray.storage import Storage, open_storage
from flyteray.storage.values import write_value
value = numpy.ones({megabytes} * 2**20, dtype=numpy.uint8)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
write_value(open_storage({storage.url!r}), "v", [value, value.view()])
print(peak() - before)
"""
    grown = int(subprocess.check_output([sys.executable, "-c", code]))

    assert grown < 20, f"{grown} MiB more to write {megabytes} MiB"


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    )
)
def test_any_plain_value_comes_back_equal(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "values"
    storage = open_storage(folder)

    write_value(storage, "v", value)

    assert read_value(storage, "v", folder) == value


def test_arrow_tables_are_views_too(storage: Storage, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"x": np.arange(100_000)})
    write_value(storage, "t", table)

    before = arrow.total_allocated_bytes()
    back = read_value(storage, "t", tmp_path)

    assert back.equals(table)
    assert arrow.total_allocated_bytes() - before < 10_000


def test_a_value_in_an_object_store_is_mapped_from_a_local_copy(tmp_path: Path) -> None:
    storage = ObjectStorage("s3://bucket", MemoryStore())
    write_value(storage, "v", {"a": np.arange(5000)})

    back = read_value(storage, "v", tmp_path)

    assert back["a"][-1] == 4999
    assert not back["a"].flags.writeable


@pytest.mark.parametrize("kept", [0, 10, 60, 3000, 8000])
def test_a_torn_file_is_refused(storage: Storage, tmp_path: Path, kept: int) -> None:
    write_value(storage, "v", np.ones(1000))
    (tmp_path / "v").write_bytes((tmp_path / "v").read_bytes()[:kept])

    with pytest.raises(
        RuntimeSystemError, match=r"/v (is not a value|has \d+ bytes instead of \d+).*Run the task"
    ):
        read_value(storage, "v", tmp_path)


def test_another_files_bytes_are_refused(storage: Storage, tmp_path: Path) -> None:
    storage.put("v", b"PK\x03\x04" + bytes(1000))

    with pytest.raises(RuntimeSystemError, match="is not a value written by flyteray"):
        read_value(storage, "v", tmp_path)


def test_a_newer_format_is_refused(storage: Storage, tmp_path: Path) -> None:
    write_value(storage, "v", 1)
    data = bytearray((tmp_path / "v").read_bytes())
    data[8] = 9
    storage.put("v", bytes(data))

    with pytest.raises(RuntimeSystemError, match="has format 9, this flyteray reads 1"):
        read_value(storage, "v", tmp_path)


def test_a_missing_value_is_a_missing_file(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file 'v'"):
        read_value(storage, "v", tmp_path)


def test_an_unpicklable_value_is_named_with_its_place_and_leaves_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    model = Model(np.ones(3), np.ones(3), threading.Lock())  # type: ignore[arg-type]

    with pytest.raises(
        ResultSerializationError, match=r"^output\['m'\]\.name is a _thread\.lock, which can't be"
    ):
        write_value(storage, "v", {"m": model}, "output")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_keeps_the_old_value(storage: Storage, tmp_path: Path) -> None:
    write_value(storage, "v", "old")

    with pytest.raises(ResultSerializationError):
        write_value(storage, "v", threading.Lock())
    assert read_value(storage, "v", tmp_path) == "old"


def test_the_path_to_what_can_not_be_pickled_stays_short(storage: Storage) -> None:
    deep: object = threading.Lock()
    for _ in range(500):
        deep = [deep]

    with pytest.raises(ResultSerializationError) as raised:
        write_value(storage, "v", deep)

    assert str(raised.value).startswith("value" + "[0]" * 10 + " … [0] is a builtins.list")
