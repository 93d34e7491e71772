"""Configuration files of Flyte: where they are looked for, what they and the variables say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flyteray import config, git
from flyteray.errors import InitializationError


@pytest.fixture(autouse=True)
def nothing_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of a repository, a home and an environment in which nothing is configured."""
    for name in [name for name in os.environ if name.startswith(("FLYTE_", "UCTL", "FLYTECTL"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "below").mkdir()
    monkeypatch.chdir(tmp_path / "repository" / "below")


def written(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"task: {{project: {path.parent.name or 'here'}}}")
    return path


def test_files_are_looked_for_in_flytes_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [
        tmp_path / "home" / ".flyte" / "config.yaml",
        tmp_path / "home" / ".union" / "config.yaml",
        tmp_path / "flytectl" / "x.yaml",
        tmp_path / "uctl" / "x.yaml",
        tmp_path / "repository" / ".flyte" / "config.yaml",
        Path.cwd() / ".flyte" / "config.yaml",
        Path.cwd() / "config.yaml",
    ]
    assert config.get_config_file() is None
    assert config.auto() == config.Config()
    for place in places:
        written(place)
        if place.name == "x.yaml":
            monkeypatch.setenv(f"{place.parent.name.upper()}_CONFIG", str(place))
        found = config.get_config_file()
        assert found is not None
        assert found.path == place
        assert config.auto().source == place


def test_the_repositorys_file_is_found_from_everywhere_in_it(tmp_path: Path) -> None:
    assert git.config_from_root() is None
    written(tmp_path / "repository" / ".flyte" / "config.yaml", "task: {project: whole}")

    found = git.config_from_root()

    assert found is not None
    assert found.task.project == "whole"


ALL = """
admin:
  endpoint: dns:///x
  insecure: true
  insecureSkipVerify: true
  caCertFilePath: /ca.pem
  httpProxyURL: http://proxy
  disableKeyring: true
  command: [get, token]
  proxyCommand: [get, other]
  clientId: me
  scopes: [a, b]
  authType: DeviceFlow
console: {endpoint: http://console}
task: {org: acme, project: ads, domain: dev}
image: {builder: remote, registry: ghcr.io/x, image_refs: {gpu: "registry/gpu:2"}}
local: {persistence: true, tracked: true, tracked_strict: true}
"""


def test_every_key_is_read() -> None:
    found = config.auto(written(Path("all.yaml"), ALL))

    assert found.platform == config.PlatformConfig(
        endpoint="dns:///x",
        insecure=True,
        insecure_skip_verify=True,
        ca_cert_file_path="/ca.pem",
        console_endpoint="http://console",
        command=["get", "token"],
        proxy_command=["get", "other"],
        client_id="me",
        scopes=["a", "b"],
        auth_mode="DeviceFlow",
        http_proxy_url="http://proxy",
        disable_keyring=True,
    )
    assert found.task == config.TaskConfig(org="acme", project="ads", domain="dev")
    assert found.image == config.ImageConfig("remote", {"gpu": "registry/gpu:2"}, "ghcr.io/x")
    assert found.local == config.LocalConfig(True, True, True)


def test_variables_override_the_file_and_do_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "FLYTE_TASK_PROJECT": "own",
        "FLYTE_ADMIN_INSECURE": "false",
        "FLYTE_AUTH_COMMAND": "mint --audience 'the cluster'",
        "FLYTE_ADMIN_PROXYCOMMAND": '["get", "it"]',
        "FLYTE_ADMIN_SCOPES": "a, b c",
        "FLYTE_IMAGE_IMAGE_REFS": "gpu=registry/gpu:3,registry/base:1",
        "FLYTE_TASK_DOMAIN": "",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)

    for found in (config.auto(written(Path("all.yaml"), ALL)), config.auto()):
        assert found.task.project == "own"
        assert found.platform.insecure is False
        assert found.platform.command == ["mint", "--audience", "the cluster"]
        assert found.platform.proxy_command == ["get", "it"]
        assert found.platform.scopes == ["a", "b", "c"]
        assert found.image.image_refs == {"gpu": "registry/gpu:3", "default": "registry/base:1"}
    assert config.auto("all.yaml").task.domain == "dev"


def test_a_clients_secret_is_read_from_where_the_file_says_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written(Path("secret"), "hush\n")
    found = config.auto(written(Path("a.yaml"), "admin: {clientSecretLocation: secret}"))
    assert (found.platform.client_credentials_secret, found.platform.auth_mode) == ("hush", "ClientSecret")
    assert "hush" not in repr(found)

    monkeypatch.setenv("THE_SECRET", "quiet")
    found = config.auto(written(Path("b.yaml"), "admin: {clientSecretEnvVar: THE_SECRET}"))
    assert found.platform.client_credentials_secret == "quiet"


@pytest.mark.parametrize("text", ["[1, 2]", "just words", "task: train", "admin: [x]", "{", "\x00"])
def test_a_file_of_another_program_says_nothing(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert config.auto(written(Path("config.yaml"), text)).task == config.TaskConfig()
    assert ("is no YAML" in caplog.text) == (text in ("{", "\x00"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("task: {project: 3}", r"task.project in x.yaml is 3: it must be a text"),
        ("admin: {insecure: maybe}", "admin.insecure in x.yaml is 'maybe': it must be true or false"),
        ("image: {image_refs: [a]}", "it must be names and URIs"),
        ("admin: {command: 3}", "it must be a list of texts"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_place(text: str, match: str) -> None:
    with pytest.raises(InitializationError, match=match):
        config.auto(written(Path("x.yaml"), text))


def test_a_variable_of_another_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_AUTH_COMMAND", '["get"')
    with pytest.raises(InitializationError, match=r"FLYTE_AUTH_COMMAND is '\[\"get\"': it must be JSON"):
        config.auto()


def test_a_file_that_is_named_must_be_there() -> None:
    with pytest.raises(InitializationError, match=r"no configuration file 'gone\.yaml'") as caught:
        config.get_config_file("gone.yaml")
    assert caught.value.code == "ConfigFileNotFoundError"
    with pytest.raises(InitializationError, match="can't be read"):
        config.auto(Path.cwd())
