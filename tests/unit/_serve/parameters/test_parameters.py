"""What an app's arguments, variables and get_parameter hold for each kind of parameter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyteray._plan.spec import OutputRef, ParameterSpec
from flyteray._serve.parameters.parameters import Parameters, Resolver, Value
from flyteray.app import get_parameter
from flyteray.app.parameters import PARAMETERS_FILE
from flyteray.errors import ParameterMaterializationError
from flyteray.io import Dir, File
from flyteray.storage.address import directory_hash, file_hash

RUN = OutputRef(run_name="r1")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTERAY_CACHE", str(tmp_path / "node"))
    folder = tmp_path / "replica"
    folder.mkdir()
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "stored" / "model.bin"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("a.txt", "b.log", "deep/c.txt", "cache/d.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def gives(value: Any) -> Callable[[OutputRef], Any]:
    return lambda _: value


def only(spec: ParameterSpec, folder: Path, output: Any = None) -> Parameters:
    return Resolver(folder, "shop", gives(output)).all([spec])


def files(folder: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_a_string_is_itself_everywhere(work: Path) -> None:
    found = only(ParameterSpec(name="size", kind="string", value="big", env_var="SIZE"), work)

    assert found.arguments == found.visible == found.texts == {"size": "big"}
    assert found.env_vars == {"SIZE": "big"}
    assert found.runs == {}


def test_a_string_may_come_from_a_run(work: Path) -> None:
    found = only(ParameterSpec(name="size", kind="string", output=RUN), work, "from the run")

    assert found.arguments == {"size": "from the run"}
    assert found.runs == {"size": "r1"}


def test_a_local_file_is_used_where_it_is(work: Path, model: Path) -> None:
    found = only(ParameterSpec(name="m", kind="file", output=RUN), work, File(path=str(model)))

    assert found.arguments["m"].path == found.texts["m"] == found.visible["m"] == str(model)


def test_a_mount_that_ends_in_a_slash_keeps_the_files_name(work: Path, tmp_path: Path, model: Path) -> None:
    mount = f"{tmp_path}/made/for/it/"
    found = only(ParameterSpec(name="m", kind="file", value=str(model), mount=mount), work)

    assert found.texts["m"] == f"{mount}model.bin"
    assert Path(found.texts["m"]).read_bytes() == b"weights"


def test_another_mount_is_the_files_path(work: Path, tmp_path: Path, model: Path) -> None:
    found = only(ParameterSpec(name="m", kind="file", value=str(model), mount=f"{tmp_path}/other.bin"), work)

    assert Path(found.texts["m"]) == tmp_path / "other.bin"
    assert (tmp_path / "other.bin").read_bytes() == b"weights"


def test_a_relative_mount_starts_in_the_replicas_folder(work: Path, model: Path) -> None:
    only(ParameterSpec(name="m", kind="file", value=str(model), mount="in/here.bin"), work)

    assert (work / "in" / "here.bin").read_bytes() == b"weights"


def test_a_file_that_is_not_downloaded_keeps_its_url(work: Path) -> None:
    found = only(ParameterSpec(name="m", kind="file", value="s3://bucket/m.bin", download=False), work)

    assert found.arguments["m"].path == found.texts["m"] == "s3://bucket/m.bin"


def test_a_directory_is_mounted_as_a_whole(work: Path, tmp_path: Path, tree: Path) -> None:
    spec = ParameterSpec(name="d", kind="directory", output=RUN, mount=f"{tmp_path}/mounted")
    found = only(spec, work, Dir(path=f"file://{tree}"))

    assert isinstance(found.arguments["d"], Dir)
    assert found.texts["d"] == f"{tmp_path}/mounted"
    assert files(found.texts["d"]) == {"a.txt", "b.log", "deep/c.txt", "cache/d.txt"}


def test_ignored_files_are_left_out(work: Path, tree: Path) -> None:
    spec = ParameterSpec(name="d", kind="directory", value=str(tree), ignore_patterns=("*.log", "cache"))

    assert files(only(spec, work).texts["d"]) == {"a.txt", "deep/c.txt"}


def test_an_endpoint_is_the_apps_address(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERNAL_APP_ENDPOINT_PATTERN", "http://127.0.0.1:8080/{app_fqdn}")

    found = only(ParameterSpec(name="other", kind="app_endpoint", value="shop", env_var="SHOP"), work)
    assert found.arguments["other"] == found.env_vars["SHOP"] == "http://127.0.0.1:8080/shop"

    found = only(ParameterSpec(name="other", kind="app_endpoint", value="https://else.where/"), work)
    assert found.arguments["other"] == "https://else.where/"


def test_an_object_is_itself_and_has_a_token_for_variables(work: Path) -> None:
    model = {"weights": [1, 2]}
    found = only(ParameterSpec(name="m", kind="object", output=RUN, env_var="M"), work, model)

    assert found.arguments["m"] is model
    assert found.visible["m"] is model
    assert found.env_vars["M"] == found.texts["m"] == "<dict of run r1>"


@pytest.mark.parametrize(
    ("kind", "output", "expected"),
    [
        ("string", 7, "a str.* is a int: 7"),
        ("file", "x.bin", "a File.* is a str: 'x.bin'"),
        ("directory", 7, "a Dir"),
    ],
)
def test_an_output_of_another_type_is_refused(work: Path, kind: Any, output: Any, expected: str) -> None:
    with pytest.raises(ParameterMaterializationError, match=f"'p'.*{expected}"):
        only(ParameterSpec(name="p", kind=kind, output=RUN), work, output)


@pytest.mark.parametrize("mount", [None, "here/"])
def test_a_missing_file_is_named(work: Path, mount: str | None) -> None:
    with pytest.raises(ParameterMaterializationError, match=r"'p'.*/nowhere/x\.bin"):
        only(ParameterSpec(name="p", kind="file", value="/nowhere/x.bin", mount=mount), work)


def test_a_missing_relative_path_is_told_where_it_begins(work: Path) -> None:
    with pytest.raises(
        ParameterMaterializationError, match=r"x\.bin\. A relative path begins in the app's own folder"
    ):
        only(ParameterSpec(name="p", kind="file", value="x.bin"), work)


@pytest.mark.parametrize(("kind", "there"), [("file", "directory"), ("directory", "file")])
def test_a_file_in_the_place_of_a_directory_is_told_and_the_other_way_round(
    work: Path, model: Path, kind: Any, there: str
) -> None:
    path = model if there == "file" else model.parent

    with pytest.raises(
        ParameterMaterializationError,
        match=rf"'p': {path} is a {there}, but .* a {kind}\. Give a .*{there}\"",
    ):
        only(ParameterSpec(name="p", kind=kind, value=str(path)), work)


def test_a_mount_that_cannot_be_made_is_named(work: Path, model: Path) -> None:
    with pytest.raises(ParameterMaterializationError, match=r"'p'.*/dev/null/x"):
        only(ParameterSpec(name="p", kind="file", value=str(model), mount="/dev/null/x"), work)


def test_a_parameter_without_a_value_is_refused(work: Path) -> None:
    with pytest.raises(ParameterMaterializationError, match="'p': it has no value"):
        only(ParameterSpec(name="p", kind="string"), work)


def test_a_mounted_file_is_a_link_that_goes_with_its_replica(work: Path, tmp_path: Path, model: Path) -> None:
    found = only(ParameterSpec(name="m", kind="file", value=str(model), mount=f"{tmp_path}/in/"), work)
    mounted = tmp_path / "in" / "model.bin"
    assert mounted.is_symlink()
    assert mounted.resolve().parent.parent.parent == tmp_path / "node"

    found.release()

    assert not mounted.is_symlink()
    assert files(str(tmp_path / "node")) == {f"flyteray-mounts-{os.getuid()}/lock"}


def test_nothing_stays_of_parameters_that_come_before_one_that_fails(
    work: Path, tmp_path: Path, model: Path
) -> None:
    good = ParameterSpec(name="m", kind="file", value=str(model), mount=f"{tmp_path}/in/")
    bad = ParameterSpec(name="p", kind="file", value="/nowhere/x.bin", mount="here/")

    with pytest.raises(ParameterMaterializationError, match="'p'"):
        Resolver(work, "shop", gives(None)).all([good, bad])

    assert not (tmp_path / "in" / "model.bin").is_symlink()


def test_a_mount_over_something_else_is_refused(work: Path, tmp_path: Path, model: Path) -> None:
    (tmp_path / "there").write_text("precious")

    with pytest.raises(ParameterMaterializationError, match=r"'m'.*there is something else"):
        only(ParameterSpec(name="m", kind="file", value=str(model), mount=f"{tmp_path}/there"), work)

    assert (tmp_path / "there").read_text() == "precious"


def test_texts_are_published_for_child_processes(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZE", "")
    monkeypatch.setenv("flyte-parameters.json", "")
    found = only(ParameterSpec(name="size", kind="string", value="big", env_var="SIZE"), work)

    found.publish(work)

    assert os.environ["SIZE"] == "big"
    assert json.loads(Path(os.environ["flyte-parameters.json"]).read_text()) == {"size": "big"}  # noqa: SIM112


def test_new_values_are_seen_all_at_once_by_those_who_hold_the_views(work: Path) -> None:
    found = Resolver(work, "shop", gives(None)).all(
        [ParameterSpec(name=name, kind="string", value="old") for name in ("a", "b", "c")]
    )
    arguments, before = found.arguments, found.values

    found.replace({name: Value("new", "new", "new", "r2") for name in ("a", "b")})

    assert dict(arguments) == {"a": "new", "b": "new", "c": "old"}
    assert found.runs == {"a": "r2", "b": "r2"}
    assert {value.text for value in before.values()} == {"old"}


def test_what_has_changed_since_the_app_was_served_is_refused(work: Path, model: Path, tree: Path) -> None:
    file = ParameterSpec(
        name="model", kind="file", value=str(model), mount="model.bin", hash=file_hash(str(model))
    )
    data = ParameterSpec(
        name="data",
        kind="directory",
        value=str(tree),
        ignore_patterns=("*.log",),
        hash=directory_hash(str(tree), ("*.log",)),
    )
    (tree / "b.log").write_text("does not count")
    assert Path(only(file, work).texts["model"]).read_bytes() == b"weights"
    assert files(only(data, work).texts["data"]) == {"a.txt", "deep/c.txt", "cache/d.txt"}

    model.write_bytes(b"newer weights")
    (tree / "deep" / "c.txt").write_text("newer")
    for spec in (file, data):
        with pytest.raises(
            ParameterMaterializationError, match=rf"'{spec.name}': {spec.value} holds something else .* Serve"
        ):
            only(spec, work)


def test_every_thread_of_an_app_gets_the_values_themselves(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PARAMETERS_FILE, "")  # put back afterwards, whatever is published
    model = object()
    found = only(ParameterSpec(name="model", kind="object", output=RUN), work, model)
    found.publish(work)

    with ThreadPoolExecutor(1) as threads:  # without the context of this one
        assert threads.submit(get_parameter, "model").result() is get_parameter("model") is model
    newer = object()
    found.replace({"model": replace(found.values["model"], visible=newer)})
    assert get_parameter("model") is newer
    with pytest.raises(KeyError, match="'model'"):
        get_parameter("p")
