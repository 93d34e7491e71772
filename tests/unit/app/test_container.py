"""The words by which Flyte's own backend would start an app, for programs that ask for them."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import flyteray
from flyteray.app import AppEndpoint, AppEnvironment, ConnectorEnvironment, Parameter, Port, RunOutput
from flyteray.io import Dir, File
from flyteray.models import CodeBundle, SerializationContext

CONTEXT = SerializationContext(version="v7", project="p", domain="d", org="o", root_dir=Path("/code"))


def after(option: str, words: list[str]) -> str:
    return words[words.index(option) + 1]


def parameters_in(words: list[str]) -> dict[str, dict[str, Any]]:
    plain = json.loads(gzip.decompress(base64.b64decode(after("--parameters", words))))
    return {each["name"]: each for each in plain["parameters"]}


def test_arguments_are_words_however_they_are_written() -> None:
    assert AppEnvironment("a").container_args(CONTEXT) == []
    assert AppEnvironment("a", args=["-x", "a b"]).container_args(CONTEXT) == ["-x", "a b"]
    assert AppEnvironment("a", args='-x "a b"').container_args(CONTEXT) == ["-x", "a b"]


def test_a_command_of_its_own_is_the_container_s() -> None:
    assert AppEnvironment("a", command='serve "a b"').container_cmd(CONTEXT) == ["serve", "a b"]
    assert AppEnvironment("a", command=["serve", "$PORT"]).container_cmd(CONTEXT) == ["serve", "$PORT"]


def test_without_a_command_flytes_launcher_is_told_whose_app_it_is() -> None:
    words = AppEnvironment("a").container_cmd(CONTEXT)

    assert (words[0], words[-1]) == ("fserve", "--")
    assert [after(f"--{option}", words) for option in ("version", "project", "domain", "org")] == [
        "v7",
        "p",
        "d",
        "o",
    ]
    assert {"--tgz", "--pkl", "--dest", "--parameters", "--image-cache"}.isdisjoint(words)


def test_the_launcher_is_told_where_the_code_is() -> None:
    env = AppEnvironment("a")
    packed = env.container_cmd(
        SerializationContext(code_bundle=CodeBundle("c1", tgz="s3://b/code.tgz", destination="/app"))
    )
    pickled = env.container_cmd(SerializationContext(code_bundle=CodeBundle("c1", pkl="s3://b/code.pkl")))

    assert (after("--version", packed), after("--tgz", packed), after("--dest", packed)) == (
        "c1",
        "s3://b/code.tgz",
        "/app",
    )
    assert (after("--pkl", pickled), after("--dest", pickled)) == ("s3://b/code.pkl", ".")
    assert "--tgz" not in pickled


def test_the_launcher_is_told_the_images_as_they_are_packed() -> None:
    env = AppEnvironment("a")
    packed = SerializationContext(image_cache=SimpleNamespace(serialized_form="abc"))
    loose = SerializationContext(image_cache=SimpleNamespace(serialized_form=None, to_transport="def"))

    assert after("--image-cache", env.container_cmd(packed)) == "abc"
    assert after("--image-cache", env.container_cmd(loose)) == "def"


def test_the_launcher_is_told_the_parameters() -> None:
    env = AppEnvironment(
        "a",
        parameters=[
            Parameter("config", "config.yaml", env_var="CONFIG"),
            Parameter("weights", File(path="s3://b/w"), mount="/w", download=False),
            Parameter("data", Dir(path="s3://b/d"), download=False, ignore_patterns=["*.log"]),
            Parameter("model", RunOutput(type="file", run_name="r1")),
            Parameter("other", AppEndpoint("b")),
        ],
    )

    told = parameters_in(env.container_cmd(CONTEXT))

    assert [each["type"] for each in told.values()] == [
        "string",
        "file",
        "directory",
        "file",
        "app_endpoint",
    ]
    assert [each["download"] for each in told.values()] == [False, True, False, True, False]
    assert (told["config"]["value"], told["config"]["env_var"]) == ("config.yaml", "CONFIG")
    assert (told["weights"]["value"], told["weights"]["dest"]) == ("s3://b/w", "/w")
    assert told["data"]["ignore_patterns"] == ["*.log"]
    assert json.loads(told["model"]["value"])["run_name"] == "r1"
    assert json.loads(told["other"]["value"])["app_name"] == "b"


def test_overrides_take_the_place_of_declared_parameters_and_one_without_a_value_is_refused() -> None:
    env = AppEnvironment("a", parameters=[Parameter("config")])

    words = env.container_cmd(CONTEXT, parameter_overrides=[Parameter("config", "other.yaml")])

    assert parameters_in(words)["config"]["value"] == "other.yaml"
    with pytest.raises(ValueError, match="Parameter 'config' has no value"):
        env.container_cmd(CONTEXT)


def test_a_bundle_of_code_has_an_address() -> None:
    with pytest.raises(ValueError, match=r"tgz=\.\.\. or pkl="):
        CodeBundle("c1")
    assert CodeBundle("c1", tgz="x").with_downloaded_path(Path("/here")) == CodeBundle(
        "c1", tgz="x", downloaded_path=Path("/here")
    )


def test_a_connector_is_declared_as_in_flyte() -> None:
    env = ConnectorEnvironment("a", include=["mine/connector.py", "other"])

    assert (env.type, env.port) == ("connector", Port(8080, "h2c"))
    assert env.container_args(CONTEXT) == (
        ["c0", "--port", "8080", "--prometheus_port", "9092", "--modules", "mine.connector", "other"]
    )
    assert ConnectorEnvironment("a", port=9000).port == Port(9000)
    assert ConnectorEnvironment("a", port=9000).container_args(CONTEXT)[:3] == ["c0", "--port", "9000"]
    assert ConnectorEnvironment("a", args="--mine").container_args(CONTEXT) == ["--mine"]
    assert env.clone_with("b").container_args(CONTEXT) == env.container_args(CONTEXT)


def test_a_connector_is_refused_when_it_is_served() -> None:
    for port in (8080, Port(8080, "h2c")):
        with pytest.raises(ValueError, match=r"'a' can't be served: connectors take tasks from Flyte's own"):
            flyteray.with_servecontext(mode="local").serve(ConnectorEnvironment("a", port=port))
