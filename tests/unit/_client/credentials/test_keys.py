"""Keys where no cluster runs: how they are made, kept and looked after."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyteray._control.registry.database import Database
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.registry import Registry
from flyteray._plan.credentials import key_digest, new_key
from flyteray.cli.root import flyteray as command
from flyteray.errors import KeyNotFoundError
from flyteray.remote import Key


@pytest.fixture
def keys(url: str) -> Iterator[Keys]:
    with contextlib.closing(Database(url)) as database:
        yield Keys(database)


def flyteray(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def test_a_key_is_recognised_and_can_not_be_guessed() -> None:
    made = {new_key() for _ in range(100)}

    assert len(made) == 100
    assert all(key.startswith("flyteray_") and len(key) == len("flyteray_") + 43 for key in made)


def test_keys_are_kept_by_digest_beside_the_rest_of_the_registry(keys: Keys, url: str) -> None:
    Registry(url).close()
    asyncio.run(keys.create("bob", key_digest("two")))
    asyncio.run(keys.create("ann@example.com", key_digest("one")))
    database = Database(url)
    again = Keys(database)

    assert again.names() == {key_digest("one"): "ann@example.com", key_digest("two"): "bob"}
    assert [info.name for info in asyncio.run(again.listall(None))] == ["ann@example.com", "bob"]
    assert [info.name for info in asyncio.run(again.listall(1))] == ["ann@example.com"]
    asyncio.run(again.delete("bob"))
    assert keys.names() == {key_digest("one"): "ann@example.com"}
    database.close()


@pytest.mark.parametrize("name", ["", "a b", "-a", "a-", "a/b", "a\nb", "a;b", "ä", "a" * 64, 5, None])
def test_a_bad_name_is_refused(name: str, home: Path) -> None:
    with pytest.raises(ValueError, match="is no name for a key: use up to 63 letters"):
        Key.create(name)


def test_a_name_can_be_used_once(keys: Keys) -> None:
    asyncio.run(keys.create("ann", key_digest("one")))

    with pytest.raises(ValueError, match=r"There is a key 'ann' already: .*`flyteray delete key ann`"):
        asyncio.run(keys.create("ann", key_digest("two")))
    assert keys.names() == {key_digest("one"): "ann"}


def test_a_key_that_is_created_again_because_the_answer_was_lost_is_that_key(keys: Keys) -> None:
    first = asyncio.run(keys.create("ann", key_digest("one")))

    assert asyncio.run(keys.create("ann", key_digest("one"))) == first


def test_an_unknown_key_is_answered_by_those_there_are(keys: Keys) -> None:
    with pytest.raises(KeyNotFoundError, match=r"no key 'bob'. Keys there are: none."):
        asyncio.run(keys.delete("bob"))
    asyncio.run(keys.create("ann", key_digest("one")))
    asyncio.run(keys.create("eve", key_digest("two")))
    with pytest.raises(KeyNotFoundError, match=r"no key 'bob'. Keys there are: ann, eve."):
        asyncio.run(keys.delete("bob"))


def test_a_key_is_told_once_and_is_nowhere_on_disk(home: Path) -> None:
    made = Key.create("ann")
    asyncio.run(Key.create.aio("bob"))

    assert made.value is not None
    assert repr(made) == "Key(name='ann')"
    assert [(key.name, key.value) for key in Key.listall()] == [("ann", None), ("bob", None)]
    assert pickle.loads(pickle.dumps(made)).created_at == made.created_at
    for file in home.rglob("*"):
        assert file.is_dir() or made.value.encode() not in file.read_bytes()
    Key.delete("ann")
    assert [key.name for key in Key.listall()] == ["bob"]


def test_the_command_makes_shows_and_deletes_keys(home: Path) -> None:
    made = flyteray("create", "key", "ann")
    in_json = json.loads(flyteray("create", "key", "bob", "-o", "json").stdout)
    listed = flyteray("get", "key")

    assert made.stdout.startswith("flyteray_")
    assert len(made.stdout.splitlines()) == 1
    assert "It is not shown again" in made.stderr
    assert (in_json["name"], in_json["key"][:9]) == ("bob", "flyteray_")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["NAME", "ann", "bob"]
    assert made.stdout.strip() not in listed.stdout
    assert [key["name"] for key in json.loads(flyteray("get", "key", "-o", "json").stdout)] == ["ann", "bob"]
    assert "Key ann is deleted." in flyteray("delete", "key", "ann").stderr
    assert json.loads(flyteray("delete", "key", "bob", "-o", "json").stdout) == {
        "name": "bob",
        "deleted": True,
    }


def test_the_command_says_what_is_wrong(home: Path) -> None:
    flyteray("create", "key", "ann")
    twice, bad, unknown = (
        flyteray("create", "key", "ann"),
        flyteray("create", "key", "a b"),
        flyteray("delete", "key", "bob"),
    )

    assert (twice.exit_code, "There is a key 'ann' already" in twice.stderr) == (2, True)
    assert (bad.exit_code, "'a b' is no name for a key" in bad.stderr) == (2, True)
    assert (unknown.exit_code, "Keys there are: ann." in unknown.stderr) == (1, True)


def test_the_address_to_listen_on_is_checked_before_anything_starts(home: Path) -> None:
    refused = flyteray("up", "--host", "localhost")

    assert refused.exit_code == 2
    assert "'localhost' is no IP address" in refused.stderr
    assert list(home.iterdir()) == []
