from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import flyteray
from flyteray._declare.context import TaskContext, task_context
from flyteray._declare.facts import ActionID
from flyteray.io import Dir, EmptyDir, File, HashFunction


def bind(mode: Any, raw_data_path: str) -> Any:
    action = ActionID(name="a0", run_name="r")
    return task_context.set(TaskContext(action=action, mode=mode, raw_data_path=raw_data_path))


@pytest.fixture
def raw_data(tmp_path: Path) -> Iterator[Path]:
    """The data folder of a task that runs on a cluster."""
    token = bind("remote", str(tmp_path / "raw"))
    yield tmp_path / "raw"
    task_context.reset(token)


@pytest.fixture
def locally(tmp_path: Path) -> Iterator[None]:
    token = bind("local", str(tmp_path / "raw"))
    yield
    task_context.reset(token)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("hello")
    return path


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server that offers ``hello.txt``."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web/hello.txt").write_text("hello")
    handler = partial(QuietHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_local_file_is_copied_to_where_every_node_can_read_it(raw_data: Path, source: Path) -> None:
    file: File[str] = File.from_local_sync(source)
    source.write_text("changed")

    assert Path(file.path).is_relative_to(raw_data)
    assert file.name == "source.txt"
    assert Path(file.path).read_text() == "hello"


@pytest.mark.usefixtures("own_session")
def test_outside_tasks_files_go_to_the_storage_that_init_names(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_ADDRESS", "FLYTERAY_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    assert Path(File.from_local_sync(source).path).is_relative_to(tmp_path / "home/storage/files")

    flyteray.init(storage=str(tmp_path / "named"))

    assert Path(File.from_local_sync(source).path).is_relative_to(tmp_path / "named/files")
    assert Path(Dir.from_local_sync(source.parent / "named").path).is_relative_to(tmp_path / "named/files")


def test_an_app_has_a_folder_of_its_own_for_files(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_FLYTE_APP_RAW_DATA_PATH", str(tmp_path / "of the app"))

    assert Path(File.from_local_sync(source).path).is_relative_to(tmp_path / "of the app")
    assert File.named_remote("one").path == str(tmp_path / "of the app/one")


def test_two_copies_do_not_meet(raw_data: Path, source: Path) -> None:
    assert File.from_local_sync(source).path != File.from_local_sync(source).path


@pytest.mark.usefixtures("locally")
def test_local_mode_copies_nothing(source: Path) -> None:
    assert File.from_local_sync(str(source)).path == str(source)
    assert Dir.from_local_sync(str(source.parent)).path == str(source.parent)


@pytest.mark.usefixtures("locally")
def test_what_local_mode_does_not_copy_is_found_from_every_folder(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    monkeypatch.setenv("HOME", str(source.parent))

    assert File.from_local_sync(source.name).path == str(source)
    assert File.from_local_sync(f"~/{source.name}").path == str(source)
    assert Dir.from_local_sync(".").path == str(source.parent)


@pytest.mark.usefixtures("locally")
@pytest.mark.parametrize(("ending", "copied"), [("copy.txt", "copy.txt"), ("into/", "into/source.txt")])
def test_a_copy_goes_to_the_destination_given(source: Path, ending: str, copied: str) -> None:
    file: File[str] = File.from_local_sync(source, f"{source.parent}/{ending}")

    assert file.path == f"{source.parent}/{copied}"
    assert file.exists_sync()


@pytest.mark.usefixtures("locally")
def test_a_missing_local_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"File not found: .*nothing"):
        File.from_local_sync(tmp_path / "nothing")
    with pytest.raises(ValueError, match="File not found"):
        File.from_local_sync(tmp_path)
    with pytest.raises(ValueError, match=r"Directory not found: .*nothing"):
        Dir.from_local_sync(tmp_path / "nothing")


def test_a_new_file_is_written_and_read(raw_data: Path) -> None:
    file: File[str] = File.new_remote("out.txt")
    with file.open_sync("w") as stream:
        stream.write("grün\n")

    assert Path(file.path).is_relative_to(raw_data)
    assert file.name == "out.txt"
    with file.open_sync("r") as stream:
        assert stream.read() == "grün\n"
    with file.open_sync() as stream:
        assert stream.read() == "grün\n".encode()


def test_a_named_file_is_the_same_for_all_who_name_it(raw_data: Path) -> None:
    assert File.named_remote("a.txt") == File.named_remote("a.txt") == File(path=f"{raw_data}/a.txt")


def test_reading_and_writing_can_be_awaited(raw_data: Path) -> None:
    async def journey() -> tuple[bytes, list[bytes], bool]:
        file: File[str] = File.new_remote()
        async with file.open("wb") as stream:
            await stream.write(b"one\n")
            await stream.write(b"two\n")
        async with file.open(block_size=1024) as stream:
            first = await stream.readline()
            rest = [line async for line in stream]
        return first, rest, await file.exists()

    assert asyncio.run(journey()) == (b"one\n", [b"two\n"], True)


def test_a_write_that_fails_leaves_no_file(raw_data: Path) -> None:
    file: File[str] = File.new_remote()

    async def fail() -> None:
        async with file.open("w") as stream:
            await stream.write("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        asyncio.run(fail())
    assert not file.exists_sync()


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({"mode": "a"}, ValueError, "can't be opened with mode 'a': use 'rb'"),
        ({"compression": "zip"}, ValueError, "compression 'zip': there are 'gzip', 'bz2', 'xz'"),
        ({"buffering": 1}, TypeError, "takes no buffering"),
    ],
)
def test_what_open_can_not_do_is_said(source: Path, arguments: Any, error: type, problem: str) -> None:
    with pytest.raises(error, match=problem), File(path=str(source)).open_sync(**arguments):
        pass


def test_a_local_file_is_downloaded_by_staying_where_it_is(source: Path) -> None:
    assert File(path=str(source)).download_sync() == str(source)
    assert File(path=f"file://{source}").download_sync() == str(source)


def test_a_download_goes_to_a_file_or_into_a_folder(source: Path, tmp_path: Path) -> None:
    file: File[str] = File(path=str(source))

    assert file.download_sync(tmp_path / "deep" / "copy.txt") == str(tmp_path / "deep" / "copy.txt")
    assert asyncio.run(file.download(tmp_path / "deep")) == str(tmp_path / "deep" / "source.txt")
    assert file.download_sync(f"{tmp_path}/new/") == str(tmp_path / "new" / "source.txt")
    assert file.download_sync(source) == str(source)
    assert {path.read_text() for path in tmp_path.rglob("*.txt")} == {"hello"}


def test_a_file_on_the_web_is_read_and_downloaded(web: str) -> None:
    file: File[str] = File.from_existing_remote(f"{web}/hello.txt")

    with file.open_sync("r") as stream:
        assert stream.read() == "hello"
    local = Path(file.download_sync())
    assert local.name == "hello.txt"
    assert local.read_text() == "hello"


def test_a_missing_file_is_said_to_be_missing(web: str, tmp_path: Path) -> None:
    for path in [f"{web}/nothing", f"{tmp_path}/nothing"]:
        file: File[str] = File(path=path)
        assert not file.exists_sync()
        with pytest.raises(FileNotFoundError, match="'nothing' in storage"):
            file.download_sync()
        with pytest.raises(FileNotFoundError, match="'nothing' in storage"), file.open_sync():
            pass


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ["b.csv", "a.txt", "in/c.csv", "in/deep/d.csv"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def names(files: Any, root: Path) -> list[str]:
    return [str(Path(file.path).relative_to(root)) for file in files]


def test_a_walk_is_as_deep_and_picky_as_asked(tree: Path) -> None:
    folder: Dir[str] = Dir(path=str(tree))

    assert names(folder.walk_sync(), tree) == ["a.txt", "b.csv", "in/c.csv", "in/deep/d.csv"]
    assert names(folder.walk_sync(recursive=False), tree) == ["a.txt", "b.csv"]
    assert names(folder.walk_sync(file_pattern="*.csv"), tree) == ["b.csv", "in/c.csv", "in/deep/d.csv"]
    assert names(folder.walk_sync(max_depth=2), tree) == ["a.txt", "b.csv", "in/c.csv"]
    assert names(folder.list_files_sync(), tree) == ["a.txt", "b.csv"]


def test_a_walk_can_be_awaited(tree: Path) -> None:
    async def journey() -> tuple[list[Any], list[Any], Any, Any]:
        folder: Dir[str] = Dir(path=str(tree))
        walked = [file async for file in folder.walk(max_depth=1)]
        return (
            walked,
            await folder.list_files(),
            await folder.get_file("in/c.csv"),
            await folder.get_file("x"),
        )

    walked, listed, found, missing = asyncio.run(journey())

    assert walked == listed
    assert names(walked, tree) == ["a.txt", "b.csv"]
    assert found.path == f"{tree}/in/c.csv"
    assert missing is None


def test_a_folder_is_copied_to_storage_and_back(raw_data: Path, tree: Path, tmp_path: Path) -> None:
    folder: Dir[str] = Dir.from_local_sync(tree)

    back = folder.download_sync(tmp_path / "back")

    assert Path(folder.path).is_relative_to(raw_data)
    assert folder.name == "tree"
    assert folder.download_sync() == folder.path
    assert names(Dir(path=back).walk_sync(), tmp_path / "back") == names(
        folder.walk_sync(), Path(folder.path)
    )
    assert (tmp_path / "back/in/deep/d.csv").read_text() == "in/deep/d.csv"


def test_an_empty_folder_is_a_folder(raw_data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    folder = asyncio.run(Dir.from_local(tmp_path / "empty"))

    assert asyncio.run(folder.exists())
    assert folder.list_files_sync() == []


def test_files_are_written_into_a_new_folder(raw_data: Path) -> None:
    folder: Dir[str] = Dir.new_remote("model")
    with File(path=f"{folder.path}/weights.bin").open_sync("wb") as stream:
        stream.write(b"1")

    assert [file.name for file in folder.list_files_sync()] == ["weights.bin"]


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    folder: Dir[str] = Dir(path=str(tmp_path / "nothing"))

    assert not folder.exists_sync()
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nothing"):
        folder.download_sync()


class Report(BaseModel):
    file: File[str]
    folder: Dir[Any] | None = None


def test_files_are_fields_of_pydantic_models() -> None:
    report = Report(file=File(path="/a/b.csv", format="csv"), folder=Dir(path="s3://b/d"))

    assert Report.model_validate_json(report.model_dump_json()) == report
    assert Report.model_validate({"file": {"path": "/a/b.csv", "format": "csv"}}).file == report.file
    assert report.model_dump()["file"] == {"path": "/a/b.csv", "name": "b.csv", "format": "csv", "hash": None}
    assert set(Report.model_json_schema()["properties"]) == {"file", "folder"}
    with pytest.raises(ValidationError):
        Report.model_validate({"file": Dir(path="/a")})


@dataclass
class Bundle:
    file: File[str]


def test_files_are_plain_frozen_values() -> None:
    file: File[str] = File(path="/a/b.csv")

    assert pickle.loads(pickle.dumps(Bundle(file))) == Bundle(file)
    assert {file: 1}[File(path="/a/b.csv")] == 1
    assert file != Dir(path="/a/b.csv")
    assert repr(file) == "File(path='/a/b.csv', name='b.csv', format='', hash=None)"
    with pytest.raises(AttributeError):
        file.path = "/b"  # type: ignore[misc] # what the test is about


def test_files_take_keywords_only_and_ignore_those_of_other_versions() -> None:
    with pytest.raises(TypeError):
        File("/a/b.csv")  # type: ignore[misc] # what the test is about
    assert File(path="/a/b.csv", lazy_uploader=None) == File(path="/a/b.csv")


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz"])
def test_what_is_packed_is_written_and_read_in_flytes_order_of_options(
    tmp_path: Path, compression: str
) -> None:
    file = File[str](path=str(tmp_path / "packed"))

    with file.open_sync("w", None, "readahead", None, compression) as stream:
        stream.write("many words\n" * 100)
    with file.open_sync("rb", 1024, "readahead", {}, compression) as stream:
        assert stream.read() == b"many words\n" * 100
    with file.open_sync("rb") as stream:
        assert len(stream.read()) < 200


def test_text_is_read_in_its_own_encoding(source: Path) -> None:
    file = File[str](path=str(source))
    with file.open_sync("w", encoding="latin-1") as stream:
        stream.write("Zürich")

    with file.open_sync("r", encoding="latin-1") as stream:
        assert stream.read() == "Zürich"


@pytest.mark.parametrize(
    ("method", "hashed"),
    [("mine", "mine"), (HashFunction.from_fn(lambda data: f"{len(data)} bytes"), "5 bytes")],
)
def test_a_file_is_identified_as_was_said(tmp_path: Path, method: Any, hashed: str) -> None:
    (tmp_path / "five").write_text("12345")

    copy = File.from_local_sync(tmp_path / "five", str(tmp_path / "copy"), method)

    assert copy.hash == hashed


def test_no_folder_at_all_is_a_folder_that_says_so() -> None:
    assert Dir.empty().is_empty
    assert EmptyDir() == Dir.empty()
    assert not Dir(path="/tmp").is_empty


def test_a_file_is_written_and_read_as_flytes_model_is() -> None:
    file = File[str](path="s3://bucket/a.csv", format="csv", hash="h")

    assert file.model_dump() == {"path": "s3://bucket/a.csv", "name": "a.csv", "format": "csv", "hash": "h"}
    assert File.model_validate_json(file.model_dump_json()) == file
    assert file.model_copy(update={"format": "text"}).format == "text"
