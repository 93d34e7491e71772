"""Keys where no cluster runs: how they are made, kept and looked after."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flyteray._control.registry.database import Database
from flyteray._control.registry.keys import Keys
from flyteray._control.registry.registry import Registry
from flyteray._ingress.entry.grants import Grant
from flyteray._plan.credentials import key_digest, new_key
from flyteray._plan.spec import KeySpec
from flyteray.cli.root import flyteray as command
from flyteray.errors import KeyNotFoundError
from flyteray.remote import Key, User


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
    asyncio.run(keys.create(KeySpec(name="bob"), key_digest("two")))
    asyncio.run(keys.create(KeySpec(name="ann@example.com"), key_digest("one")))
    database = Database(url)
    again = Keys(database)

    assert again.grants() == {key_digest("one"): Grant("ann@example.com"), key_digest("two"): Grant("bob")}
    assert [info.name for info in asyncio.run(again.listall(None))] == ["ann@example.com", "bob"]
    assert [info.name for info in asyncio.run(again.listall(1))] == ["ann@example.com"]
    asyncio.run(again.delete("bob"))
    assert keys.grants() == {key_digest("one"): Grant("ann@example.com")}
    database.close()


@pytest.mark.parametrize("name", ["", "a b", "-a", "a-", "a/b", "a\nb", "a;b", "ä", "a" * 64, 5, None])
def test_a_bad_name_is_refused(name: str, home: Path) -> None:
    with pytest.raises(ValueError, match="is no name for a key: use up to 63 letters"):
        Key.create(name)


def test_a_name_can_be_used_once(keys: Keys) -> None:
    asyncio.run(keys.create(KeySpec(name="ann"), key_digest("one")))

    with pytest.raises(ValueError, match=r"There is a key 'ann' already: .*`flyteray delete key ann`"):
        asyncio.run(keys.create(KeySpec(name="ann"), key_digest("two")))
    assert keys.grants() == {key_digest("one"): Grant("ann")}


def test_a_key_that_is_created_again_because_the_answer_was_lost_is_that_key(keys: Keys) -> None:
    first = asyncio.run(keys.create(KeySpec(name="ann"), key_digest("one")))

    assert asyncio.run(keys.create(KeySpec(name="ann"), key_digest("one"))) == first


def test_keys_of_an_older_flyteray_open_all_apps_for_ever(url: str) -> None:
    with contextlib.closing(Database(url)) as database, database.write() as connection:
        connection.exec_driver_sql("DROP TABLE keys")
        connection.exec_driver_sql("DROP TABLE key_changes")
        connection.exec_driver_sql(
            "CREATE TABLE keys (name VARCHAR PRIMARY KEY, digest VARCHAR NOT NULL UNIQUE, created_at DATETIME NOT NULL)"
        )
        connection.exec_driver_sql(
            f"INSERT INTO keys VALUES ('ann', '{key_digest('one')}', '2026-01-01 00:00:00.000000')"
        )
        connection.exec_driver_sql("UPDATE flyteray_schema SET version = 2")
    with contextlib.closing(Database(url)) as database:
        keys = Keys(database)

        assert keys.grants() == {key_digest("one"): Grant("ann")}
        [info] = asyncio.run(keys.listall(None))
        assert (info.role, info.apps, info.expires_at, info.by) == ("invoke", (), None, None)
        asyncio.run(keys.delete("ann", "bob"))
        assert [each.action for each in asyncio.run(keys.changes(None))] == ["deleted"]


def test_what_a_key_is_for_is_kept_with_who_made_and_deleted_it(home: Path) -> None:
    before = datetime.now(timezone.utc)
    made = Key.create("ann", "deploy", ["shop", "desk", "shop"], timedelta(hours=1))
    at = datetime(2100, 1, 1, tzinfo=timezone.utc)
    Key.create("bob", expires=at)
    [ann, bob] = Key.listall()
    Key.delete("ann")

    assert (ann.role, ann.apps, ann.created_by) == ("deploy", ("shop", "desk"), User.get().name())
    assert (ann.expires_at, ann.has_ended) == (made.expires_at, False)
    assert made.expires_at is not None
    assert timedelta(minutes=59) < made.expires_at - before < timedelta(minutes=61)
    assert (bob.role, bob.apps, bob.expires_at) == ("invoke", (), at)
    told = [(each.action, each.name, each.by) for each in Key.changes()]
    user = User.get().name()
    assert told == [("deleted", "ann", user), ("created", "bob", user), ("created", "ann", user)]


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"role": "root"}, ValueError, "no role 'root': use one of read, invoke, deploy, admin"),
        ({"priority": "urgent"}, ValueError, "no priority 'urgent': use one of low, normal, high"),
        ({"apps": "shop"}, TypeError, "apps must be a list of the names of apps, got 'shop'"),
        ({"apps": ["shop", "A b"]}, ValueError, "'A b' is no name of an app"),
        ({"expires": 60}, TypeError, "expires must be a timedelta or a datetime, got 60"),
        ({"expires": timedelta(0)}, ValueError, "The key 'ann' would end at .* UTC, which is over"),
        ({"expires": datetime(2020, 1, 1)}, ValueError, "The key 'ann' would end at .* UTC, which is over"),
    ],
)
def test_a_key_that_can_not_be_is_refused(home: Path, asked: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        Key.create("ann", **asked)
    assert Key.listall() == []


def test_an_unknown_key_is_answered_by_those_there_are(keys: Keys) -> None:
    with pytest.raises(KeyNotFoundError, match=r"no key 'bob'. Keys there are: none."):
        asyncio.run(keys.delete("bob"))
    asyncio.run(keys.create(KeySpec(name="ann"), key_digest("one")))
    asyncio.run(keys.create(KeySpec(name="eve"), key_digest("two")))
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
    assert "invoke" in listed.stdout
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["NAME", "ann", "bob"]
    assert made.stdout.strip() not in listed.stdout
    assert [key["name"] for key in json.loads(flyteray("get", "key", "-o", "json").stdout)] == ["ann", "bob"]
    assert "Key ann is deleted." in flyteray("delete", "key", "ann").stderr
    assert json.loads(flyteray("delete", "key", "bob", "-o", "json").stdout) == {
        "name": "bob",
        "deleted": True,
    }


def test_the_command_makes_keys_for_some_apps_and_for_a_while(home: Path) -> None:
    arguments = ("--app", "shop", "--app", "desk", "--role", "read", "--expires", "90d", "--priority", "low")
    made = json.loads(flyteray("create", "key", "ann", *arguments, "-o", "json").stdout)
    flyteray("create", "key", "bob", "--expires", "2100-01-31")
    [ann, bob] = json.loads(flyteray("get", "key", "-o", "json").stdout)
    wrong = flyteray("create", "key", "eve", "--expires", "soon")
    over = flyteray("create", "key", "eve", "--expires", "2020-01-31")
    changes = flyteray("get", "key", "--changes").stdout.splitlines()

    assert (ann["role"], ann["apps"], ann["has_ended"]) == ("read", ["shop", "desk"], False)
    assert (ann["priority"], bob["priority"]) == ("low", "normal")
    assert ann["expires_at"] == made["expires_at"]
    assert bob["expires_at"].startswith("2100-01-3")
    assert (wrong.exit_code, "--expires 'soon' is no time" in wrong.stderr) == (2, True)
    assert (over.exit_code, "which is over" in over.stderr) == (2, True)
    assert ["created" in line for line in changes] == [False, True, True]


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
