from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flyteray._declare.context import ActionID, TaskContext, task_context
from flyteray._plan.values.digest import digest
from flyteray.io import JsonlDir, JsonlFile

RECORDS: list[dict[str, Any]] = [{"n": number, "text": f"ä{number}\n"} for number in range(2500)]


@pytest.fixture(autouse=True)
def raw_data(tmp_path: Path) -> Iterator[None]:
    action = ActionID(name="a0", run_name="r")
    token = task_context.set(TaskContext(action=action, mode="remote", raw_data_path=str(tmp_path)))
    yield
    task_context.reset(token)


def new_file(name: str = "x.jsonl") -> JsonlFile[Any]:
    return JsonlFile(path=JsonlFile.new_remote(name).path)


def new_folder() -> JsonlDir[Any]:
    return JsonlDir(path=JsonlDir.new_remote("x").path)


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_records_are_written_and_read(make: Any) -> None:
    place = make()
    with place.writer_sync() as writer:
        writer.write(RECORDS[0])
        writer.write_many(RECORDS[1:])

    assert place.format == "jsonl"
    assert list(place.iter_records_sync()) == RECORDS
    batches = list(place.iter_arrow_batches_sync(batch_size=1000))
    assert [batch.num_rows for batch in batches] == [1000, 1000, 500]
    assert pa.Table.from_batches(batches).to_pylist() == RECORDS


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_writing_and_reading_is_awaited(make: Any) -> None:
    place = make()

    async def use() -> list[Any]:
        async with place.writer() as writer:
            await writer.write(RECORDS[0])
            await writer.write_many(RECORDS[1:])
        assert [batch.num_rows async for batch in place.iter_arrow_batches(2000)] == [2000, 500]
        return [record async for record in place.iter_records()]

    assert asyncio.run(use()) == RECORDS


def test_raw_lines_are_written_as_they_are() -> None:
    file = new_file()
    with file.writer_sync(flush_bytes=1) as writer:
        writer.write_raw(b'{"a":1}\n\n')
        writer.flush()

    assert Path(file.path).read_bytes() == b'{"a":1}\n\n'
    assert list(file.iter_records_sync()) == [{"a": 1}]


def test_a_line_that_is_no_json(caplog: pytest.LogCaptureFixture) -> None:
    file = new_file()
    with file.writer_sync() as writer:
        writer.write_raw(b'{"a":1}\n{"a":\n{"a":2}\n')
    told: list[Any] = []

    with pytest.raises(ValueError, match="Line 2 is no JSON: "):
        list(file.iter_records_sync())
    assert list(file.iter_records_sync(on_error="skip")) == [{"a": 1}, {"a": 2}]
    assert "Line 2 is left out" in caplog.text
    assert list(file.iter_records_sync(on_error=lambda *what: told.append(what))) == [{"a": 1}, {"a": 2}]
    assert told[0][:2] == (2, b'{"a":\n')
    with pytest.raises(ValueError, match="on_error is 'ignore': give 'raise', 'skip'"):
        list(file.iter_records_sync(on_error="ignore"))  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_what_fails_leaves_no_file(make: Any) -> None:
    place = make()

    def write() -> None:
        with place.writer_sync() as writer:
            writer.write({"a": 1})
            writer.write({"a": object()})

    async def write_awaited() -> None:
        async with place.writer() as writer:
            await writer.write({"a": 1})
            raise TypeError("of the user")

    with pytest.raises(TypeError, match="not JSON serializable"):
        write()
    with pytest.raises(TypeError, match="of the user"):
        asyncio.run(write_awaited())
    assert place.exists_sync() is False or place.files_sync() == []


def test_the_files_of_a_folder_are_full_and_numbered_on() -> None:
    folder = new_folder()
    with folder.writer_sync(max_records_per_shard=2) as writer:
        writer.write_many([{"n": number} for number in range(5)])
    with folder.writer_sync(max_bytes_per_shard=10) as writer:
        writer.write_many([{"n": 5}, {"n": "a long one"}])
    Path(folder.path, "notes.txt").write_text("no records")

    assert [each.name for each in folder.files_sync()] == [f"part-{number:05d}.jsonl" for number in range(5)]
    assert [batch[0]["n"] for batch in folder.iter_batches_sync(batch_size=2)] == [0, 2, 4, "a long one"]

    async def batches() -> list[Any]:
        return [batch async for batch in folder.iter_batches(batch_size=5)]

    assert [len(batch) for batch in asyncio.run(batches())] == [5, 2]
    with pytest.raises(ValueError, match=re.escape("shard_extension is '.txt'")), folder.writer_sync(".txt"):
        pass


@pytest.mark.parametrize("suffix", ["zst", "zstd"])
def test_packed_files(suffix: str) -> None:
    pytest.importorskip("zstandard")
    file, folder = new_file(f"x.jsonl.{suffix}"), new_folder()
    with file.writer_sync() as writer:
        writer.write_many(RECORDS)
    with folder.writer_sync(shard_extension=f".jsonl.{suffix}", max_records_per_shard=2000) as shards:
        shards.write_many(RECORDS)

    assert len(Path(file.path).read_bytes()) < 40_000
    assert list(file.iter_records_sync()) == list(folder.iter_records_sync()) == RECORDS
    assert len(folder.files_sync()) == 2


def test_it_is_a_file_all_the_same() -> None:
    file = new_file()

    assert JsonlFile.model_validate_json(file.model_dump_json()) == file
    assert digest(file) != digest(JsonlFile(path="y"))
