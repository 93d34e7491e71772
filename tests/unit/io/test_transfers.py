from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flyteray import storage


def test_a_file_is_put_and_got_and_is_there(tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", f"{tmp_path}/away/b.txt"
    source.write_bytes(b"words")

    async def main() -> tuple[bool, str, str, bool]:
        before = await storage.exists(target)
        where = await storage.put(str(source), target)
        return before, where, await storage.get(where, str(tmp_path / "c.txt")), storage.exists_sync(target)

    before, where, got, after = asyncio.run(main())

    assert (before, where, after) == (False, target, True)
    assert Path(got).read_bytes() == b"words"


def test_a_folder_is_put_and_got(tmp_path: Path) -> None:
    folder = tmp_path / "folder" / "below"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"words")

    async def main() -> tuple[str, bool]:
        where = await storage.put(str(folder.parent), f"{tmp_path}/away", recursive=True)
        return await storage.get(where, tmp_path / "back", recursive=True), await storage.exists(where)

    got, there = asyncio.run(main())

    assert there
    assert (Path(got) / "below" / "a.txt").read_bytes() == b"words"


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"one ", b"two ", b"three"):
        yield piece


@pytest.mark.parametrize(
    "data",
    [pieces, lambda: iter([b"one ", b"two ", b"three"]), lambda: b"one two three"],
    ids=["async", "sync", "bytes"],
)
def test_what_is_streamed_there_is_streamed_back(tmp_path: Path, data: object) -> None:
    async def main() -> list[bytes]:
        where = await storage.put_stream(data(), to_path=f"{tmp_path}/a.txt")  # type: ignore[operator] # one of these
        return [piece async for piece in storage.get_stream(where, chunk_size=4)]

    assert asyncio.run(main()) == [b"one ", b"two ", b"thre", b"e"]


def test_without_a_path_it_goes_to_the_data_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_FLYTE_APP_RAW_DATA_PATH", str(tmp_path))

    where = asyncio.run(storage.put_stream(b"words", name="a.txt"))

    assert where.startswith(str(tmp_path))
    assert where.endswith("/a.txt")
    assert Path(where).read_bytes() == b"words"


def test_a_name_and_a_path_are_too_many() -> None:
    with pytest.raises(ValueError, match="put_stream takes a name or a to_path, got 'a' and '/b'"):
        asyncio.run(storage.put_stream(b"", name="a", to_path="/b"))


def test_a_file_is_opened(tmp_path: Path) -> None:
    async def main() -> str:
        async with await storage.open(f"{tmp_path}/a.txt", "w") as file:
            await file.write("words")
        async with await storage.open(f"{tmp_path}/a.txt", "r") as file:
            return str(await file.read())

    assert asyncio.run(main()) == "words"


@pytest.mark.parametrize(
    ("path", "remote"), [("s3://bucket/a", True), ("/a", False), ("a", False), ("file:///a", False)]
)
def test_a_url_of_another_place_is_remote(path: str, remote: bool) -> None:
    assert storage.is_remote(path) is remote


def test_parts_are_joined() -> None:
    assert storage.join("s3://bucket", "a", "b.txt") == "s3://bucket/a/b.txt"


def test_who_may_use_an_object_store_is_told_by_variables() -> None:
    with pytest.raises(
        NotImplementedError, match=r"There is no flyteray.storage.S3: name the storage, as in"
    ):
        storage.S3.auto()
