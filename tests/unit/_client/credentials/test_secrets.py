"""Secrets where no cluster runs: how they are kept, given to a process, and looked after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

import flyteray as flyte
from flyteray import Secret
from flyteray._client.local.furnishing import local_values
from flyteray._cluster.workers.secret_files import MountedFile, sweep
from flyteray._cluster.workers.secrets import ProcessSecrets
from flyteray._control.registry.database import Database
from flyteray._control.registry.secrets import Secrets
from flyteray._plan.credentials import LARGEST, secret_specs
from flyteray._plan.images.image import build_env_vars
from flyteray._plan.spec import ImageSpec, SecretSpec
from flyteray._settings import Settings
from flyteray.cli.root import flyteray as command
from flyteray.errors import (
    ImageBuildError,
    InitializationError,
    RuntimeSystemError,
    RuntimeUserError,
    SecretNotFoundError,
)
from flyteray.remote import Secret as Kept

VALUE = "s3cr3t-of-the-tests"


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[Secrets]:
    with contextlib.closing(Database(f"sqlite:///{tmp_path}/registry.sqlite")) as database:
        yield Secrets(database, tmp_path / "secrets.key")


def test_a_secret_comes_back_and_its_value_is_nowhere_on_disk(secrets: Secrets, tmp_path: Path) -> None:
    asyncio.run(secrets.create("TOKEN", VALUE))
    asyncio.run(secrets.create("db/password", b"\x00\xff"))

    assert secrets.read(["TOKEN"])["TOKEN"] == VALUE.encode()
    assert secrets.read(["db/password", "TOKEN"]) == {
        "db/password": b"\x00\xff",
        "TOKEN": VALUE.encode(),
    }
    assert [info.name for info in asyncio.run(secrets.listall(limit=10))] == ["TOKEN", "db/password"]
    for file in tmp_path.iterdir():
        assert VALUE.encode() not in file.read_bytes()
    assert stat.S_IMODE((tmp_path / "secrets.key").stat().st_mode) == 0o600


def test_what_browsers_sign_in_by_stays_and_is_no_secret_of_users(secrets: Secrets, tmp_path: Path) -> None:
    made = secrets.sign_in()
    with contextlib.closing(Database(f"sqlite:///{tmp_path}/registry.sqlite")) as database:
        known = Secrets(database, tmp_path / "secrets.key").sign_in()
        (tmp_path / "secrets.key").write_bytes(Fernet.generate_key())
        replaced = Secrets(database, tmp_path / "secrets.key").sign_in()

    assert known == made != replaced
    assert len(made) == len(replaced) == 32
    assert (secrets.names(), asyncio.run(secrets.listall(None))) == ([], [])
    assert all(made not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_secret_that_is_created_again_has_the_new_value(secrets: Secrets) -> None:
    first = asyncio.run(secrets.create("TOKEN", "one"))
    again = asyncio.run(secrets.create("TOKEN", "two"))

    assert secrets.read(["TOKEN"])["TOKEN"] == b"two"
    assert again.created_at == first.created_at
    assert asyncio.run(secrets.get("TOKEN")).updated_at == again.updated_at >= first.updated_at


def test_what_is_taken_from_an_environment_counts_until_a_secret_is_created(
    secrets: Secrets, tmp_path: Path
) -> None:
    assert asyncio.run(secrets.take({"TOKEN": b"of the shell", "g/k": b"x"})) == ["TOKEN", "g/k"]
    secrets.require(["TOKEN", "g/k"])
    assert asyncio.run(secrets.uncreated(["TOKEN", "g/k", "MORE", "TOKEN"])) == ["TOKEN", "g/k", "MORE"]
    assert asyncio.run(secrets.take({"TOKEN": b"of the shell", "g/k": b"y"})) == ["g/k"]
    assert secrets.read(["g/k", "TOKEN"]) == {"g/k": b"y", "TOKEN": b"of the shell"}
    assert all(b"of the shell" not in path.read_bytes() for path in tmp_path.iterdir())

    asyncio.run(secrets.create("TOKEN", "created"))
    asyncio.run(secrets.take({"TOKEN": b"of another shell"}))

    assert secrets.read(["TOKEN"])["TOKEN"] == b"created"
    assert asyncio.run(secrets.uncreated(["TOKEN"])) == []
    assert [(info.name, info.taken) for info in asyncio.run(secrets.listall(None))] == [
        ("TOKEN", False),
        ("g/k", True),
    ]
    assert [info.name for info in asyncio.run(secrets.listall(1))] == ["TOKEN"]
    assert asyncio.run(secrets.get("g/k")).taken
    asyncio.run(secrets.delete("TOKEN"))
    with pytest.raises(SecretNotFoundError):
        secrets.read(["TOKEN"])["TOKEN"]


@pytest.mark.parametrize("values", [{"a b": b"x"}, {"TOKEN": b""}, {"TOKEN": b"x" * (LARGEST + 1)}])
def test_what_can_not_be_kept_is_not_taken_either(secrets: Secrets, values: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        asyncio.run(secrets.take(values))


def test_a_missing_secret_is_named_with_the_command_that_creates_it(secrets: Secrets) -> None:
    asyncio.run(secrets.create("TOKEN", "one"))

    for ask in (
        lambda name: asyncio.run(secrets.get(name)),
        lambda name: secrets.read([name]),
        lambda name: asyncio.run(secrets.delete(name)),
        lambda name: secrets.require(["TOKEN", name]),
    ):
        with pytest.raises(
            SecretNotFoundError,
            match=r"no secret 'password' of group 'db'.*`flyteray create secret db/password`",
        ):
            ask("db/password")
    asyncio.run(secrets.delete("TOKEN"))
    with pytest.raises(SecretNotFoundError, match="TOKEN"):
        asyncio.run(secrets.get("TOKEN"))


@pytest.mark.parametrize("name", ["", "a/b/c", "/a", "../a", ".a", "a b", "a/", "a\n"])
def test_bad_names_are_refused(secrets: Secrets, name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a secret"):
        asyncio.run(secrets.create(name, "x"))


def test_values_that_can_not_be_are_refused_without_being_shown(secrets: Secrets) -> None:
    with pytest.raises(TypeError, match="got int"):
        asyncio.run(secrets.create("TOKEN", 12345))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 0"):
        asyncio.run(secrets.create("TOKEN", ""))
    with pytest.raises(ValueError, match="got 65537") as refused:
        asyncio.run(secrets.create("TOKEN", VALUE + "x" * (65537 - len(VALUE))))
    assert VALUE not in str(refused.value)


def test_the_key_may_be_given_instead_of_its_file(tmp_path: Path) -> None:
    database, key = Database(f"sqlite:///{tmp_path}/registry.sqlite"), Fernet.generate_key().decode()
    asyncio.run(Secrets(database, tmp_path / "secrets.key", key).create("TOKEN", VALUE))

    assert not (tmp_path / "secrets.key").exists()
    assert Secrets(database, tmp_path / "elsewhere", key).read(["TOKEN"])["TOKEN"] == VALUE.encode()
    with pytest.raises(
        RuntimeSystemError, match="encrypted with another key than that in FLYTERAY_SECRETS_KEY"
    ):
        Secrets(database, tmp_path / "secrets.key", Fernet.generate_key().decode()).read(["TOKEN"])
    with pytest.raises(RuntimeSystemError, match=r"there is no .*secrets\.key"):
        Secrets(database, tmp_path / "secrets.key").read(["TOKEN"])
    with pytest.raises(InitializationError, match="FLYTERAY_SECRETS_KEY holds no key") as refused:
        Secrets(database, tmp_path / "secrets.key", "pass phrase")
    assert "pass phrase" not in str(refused.value)


def test_two_processes_that_need_the_key_first_make_one(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; "
        "from flyteray._control.registry.database import Database; "
        "from flyteray._control.registry.secrets import Secrets; "
        "asyncio.run(Secrets(Database(sys.argv[1]), Path(sys.argv[2])).create(sys.argv[3], 'value'))"
    )
    url, key = f"sqlite:///{tmp_path}/registry.sqlite", tmp_path / "secrets.key"
    processes = [subprocess.Popen([sys.executable, "-c", program, url, str(key), name]) for name in "ab"]

    assert [process.wait() for process in processes] == [0, 0]
    assert Secrets(Database(url), key).read("ab") == {"a": b"value", "b": b"value"}
    assert sorted(path.name for path in tmp_path.iterdir() if "sqlite" not in path.name) == ["secrets.key"]


# In a process


def given(values: Mapping[str, bytes]) -> ProcessSecrets:
    """Secrets that go into variables of their own names."""
    return ProcessSecrets([SecretSpec(key=name, env_var=name) for name in values], lambda _: values)


def test_environment_variables_get_their_old_values_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "mine")
    monkeypatch.delenv("OTHER", raising=False)
    process_secrets = given({"TOKEN": b"given", "OTHER": b"too"})

    process_secrets.deliver()
    assert (os.environ["TOKEN"], os.environ["OTHER"]) == ("given", "too")
    process_secrets.withdraw()
    assert os.environ["TOKEN"] == "mine"
    assert "OTHER" not in os.environ


def test_what_is_no_text_can_not_be_a_variable() -> None:
    for value in (b"\xff", b"a\x00b"):
        process_secrets = given({"TOKEN": value})
        for _ in range(2):  # the next task in the process is told as well
            with pytest.raises(RuntimeUserError, match="'TOKEN' is no text"):
                process_secrets.deliver()


def test_what_is_no_text_can_not_be_given_to_a_build() -> None:
    image = ImageSpec(name="shop", secrets=(SecretSpec(key="TOKEN", env_var="TOKEN"),))

    with pytest.raises(ImageBuildError, match="'shop': secret 'TOKEN' is no text"):
        build_env_vars(image, {"TOKEN": b"\xff"})
    assert build_env_vars(image, {"TOKEN": b"abc"}) == {"TOKEN": "abc"}


def test_values_are_asked_for_again_after_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    asked = 0

    def values(_: Sequence[SecretSpec]) -> dict[str, bytes]:
        nonlocal asked
        asked += 1
        return {"TOKEN": str(asked).encode()}

    process_secrets = ProcessSecrets([SecretSpec(key="TOKEN", env_var="TOKEN")], values)
    for _ in range(3):
        process_secrets.deliver()
    assert os.environ["TOKEN"] == "1"
    monkeypatch.setattr("flyteray._cluster.workers.secrets._FRESH_S", 0.0)
    process_secrets.deliver()
    assert os.environ["TOKEN"] == "2"
    process_secrets.withdraw()


# Files


def test_a_mounted_file_is_its_owners_alone_and_goes_with_its_last_user(tmp_path: Path) -> None:
    path = tmp_path / "made" / "group" / "key"
    first, second = MountedFile(path, b"one"), MountedFile(path, b"one")

    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.close()
    second.write(b"two")
    assert path.read_bytes() == b"two"
    second.close()
    assert list(path.parent.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from flyteray._cluster.workers.secret_files import MountedFile; "
        "file = MountedFile(Path(sys.argv[1]), b'x'); print('mounted', flush=True); sys.stdin.read()"
    )
    left, other = tmp_path / "left", tmp_path / "other"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"mounted\n"

    sweep(tmp_path)
    assert left.exists()
    process.kill()
    process.communicate()
    file = MountedFile(other, b"y")
    assert not left.exists()
    file.close()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "secrets"
    process_secrets = ProcessSecrets(
        [SecretSpec(key="key", group="group", mount=str(folder))], lambda _: {"group/key": b"x"}
    )

    with pytest.raises(
        RuntimeUserError, match=rf"'group/key' can't be mounted at {folder}/group/key.*Make {folder}"
    ):
        process_secrets.deliver()


def test_a_mounted_secret_is_below_its_group_and_gone_afterwards(tmp_path: Path) -> None:
    spec = SecretSpec(key="key", group="group", mount=str(tmp_path))
    process_secrets = ProcessSecrets([spec], lambda _: {"group/key": b"\x00binary"})

    process_secrets.deliver()
    assert (tmp_path / "group" / "key").read_bytes() == b"\x00binary"
    process_secrets.withdraw()
    assert not (tmp_path / "group" / "key").exists()


# Without a cluster

env = flyte.TaskEnvironment(name="with-secrets", secrets=["TOKEN", Secret("password", group="db")])


@env.task
def read() -> tuple[str, str]:
    return os.environ["TOKEN"], os.environ["DB_PASSWORD"]


bare = flyte.TaskEnvironment(name="without-secrets")


@bare.task
def parent() -> tuple[str, str]:
    return read()


@bare.task
def stubborn() -> int:
    refused = 0
    for _ in range(2):
        try:
            read()
        except SecretNotFoundError:
            refused += 1
    return refused


def test_local_mode_takes_the_environments_values_before_the_stored_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "of the shell")
    Kept.create("TOKEN", "stored")
    Kept.create("db/password", VALUE)

    run = flyte.with_runcontext(mode="local").run(parent)

    assert tuple(run.outputs()) == ("of the shell", VALUE)
    assert "DB_PASSWORD" not in os.environ


def test_local_mode_names_what_is_missing_and_both_remedies(home: Path) -> None:
    with pytest.raises(SecretNotFoundError, match=r"TOKEN.*password.*or set TOKEN and DB_PASSWORD in the"):
        flyte.with_runcontext(mode="local").run(parent)
    assert flyte.with_runcontext(mode="local").run(stubborn).outputs()[0] == 2


def test_a_mounted_secret_may_come_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G_K", VALUE)
    specs = secret_specs([Secret("k", group="g", mount=Path("/etc/flyte/secrets"))])

    assert local_values(specs, Settings.load()) == {"g/k": VALUE.encode()}


def test_handles_of_secrets_show_everything_but_the_value(home: Path) -> None:
    kept = Kept.create("TOKEN", VALUE)

    assert [secret.name for secret in Kept.listall()] == ["TOKEN"]
    assert (kept.name, kept.type, repr(kept)) == ("TOKEN", "regular", "Secret(name='TOKEN')")
    assert Kept.get("TOKEN").updated_at == kept.updated_at >= kept.created_at
    assert VALUE not in str(vars(kept))
    with pytest.raises(ValueError, match="no secrets of type 'image_pull'"):
        Kept.create("TOKEN", VALUE, type="image_pull")
    with pytest.warns(UserWarning, match="cluster_pool has no meaning"):
        Kept.create("TOKEN", VALUE, cluster_pool="a")
    Kept.delete("TOKEN")
    with pytest.raises(SecretNotFoundError, match="TOKEN"):
        Kept.get("TOKEN")


def test_the_command_line_keeps_shows_and_deletes_secrets(home: Path, tmp_path: Path) -> None:
    (tmp_path / "value.bin").write_bytes(b"\xff\n")
    run = CliRunner().invoke

    assert run(command, ["create", "secret", "ASKED_FOR"], input=f"{VALUE}\n").exit_code == 0
    assert (
        run(command, ["create", "secret", "db/file", "--from-file", str(tmp_path / "value.bin")]).exit_code
        == 0
    )
    assert run(command, ["create", "secret", "A", "--value", "x", "-o", "json"]).exit_code == 0
    listed = run(command, ["get", "secret"])
    assert listed.exit_code == 0
    assert all(name in listed.output for name in ("ASKED_FOR", "db/file", "A"))
    assert VALUE not in listed.output + run(command, ["get", "secret", "ASKED_FOR", "-o", "json"]).output
    stored = Secrets(Database(Settings.load().database_url), Settings.load().secrets_key_path)
    assert stored.read(["ASKED_FOR", "db/file"]) == {"ASKED_FOR": VALUE.encode(), "db/file": b"\xff\n"}
    assert run(command, ["delete", "secret", "A"]).exit_code == 0
    assert run(command, ["delete", "secret", "A"]).exit_code == 1


def test_the_command_line_refuses_what_can_not_be(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    run = CliRunner().invoke

    both = run(command, ["create", "secret", "A", "--value", "x", "--from-file", str(tmp_path / "file")])
    assert (both.exit_code, "exclude each other" in both.output) == (2, True)
    named = run(command, ["create", "secret", "a b", "--value", "x"])
    assert (named.exit_code, "is no name" in named.output) == (2, True)


def test_a_mount_is_a_path_however_it_is_written() -> None:
    written = Secret("key", mount="/etc/flyte/secrets")

    assert written == Secret("key", mount=Path("/etc/flyte/secrets"))
    assert written.mount == Path("/etc/flyte/secrets")
    assert written.stable_hash() == Secret("key", mount=Path("/etc/flyte/secrets")).stable_hash()
