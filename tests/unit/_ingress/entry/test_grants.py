from __future__ import annotations

import pytest

from flyteray._ingress.entry.grants import Grant, opened_apps, read, signed

GRANTS = {
    "d1": Grant("ann"),
    "d2": Grant("bob", "deploy", frozenset({"a", "b"}), 7, priority="low"),
}


def test_what_browsers_sign_in_by_follows_from_key_and_secret_alone() -> None:
    made = signed(GRANTS, lambda: b"one")
    signs = {digest: grant.sign for digest, grant in made.items()}

    assert signed(GRANTS, lambda: b"one") == made
    assert len(set(signs.values())) == 2
    assert [len(sign) for sign in signs.values()] == [64, 64]
    assert not {grant.sign for grant in signed(GRANTS, lambda: b"two").values()} & set(signs.values())
    assert {digest: grant.owner for digest, grant in made.items()} == {"d1": "ann", "d2": "bob"}
    assert signs["d1"] not in repr(made)


def test_the_secret_is_asked_for_where_there_are_keys() -> None:
    def unknown() -> bytes:
        raise AssertionError("nobody needs it")

    assert signed({}, unknown) == {}


@pytest.mark.parametrize("grants", [GRANTS, signed(GRANTS, lambda: b"one")], ids=["plain", "signed"])
def test_grants_are_read_as_they_were_written(grants: dict[str, Grant]) -> None:
    texts = {digest: grant.text() for digest, grant in grants.items()}

    assert read(texts, dict.fromkeys(opened_apps(grants), "yes")) == grants


def test_a_usual_priority_is_not_written() -> None:
    assert Grant("ann").text().count("/") == 3
    assert Grant("ann", priority="high").text().endswith("//high")
