"""The ingress's own pages: real HAProxies, no Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.own_pages import OwnPages
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest

KEY, NARROW, OLD = "flyteray_all", "flyteray_narrow", "flyteray_old"
STATE = IngressState(
    keys={
        key_digest(KEY): Grant("ann", "read"),
        key_digest(NARROW): Grant("bob", "admin", frozenset({"hello"})),
        key_digest(OLD): Grant("eve", "admin", expires=1),
    }
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ingress, Path]]:
    folder = tmp_path_factory.mktemp("own")
    ingress = Ingress(folder, watched=os.getpid())
    ingress.apply(STATE)
    yield ingress, folder
    ingress.stop()


@pytest.fixture
def pages(served: tuple[Ingress, Path]) -> Iterator[OwnPages]:
    def broken() -> bytes:
        raise RuntimeError("nobody home")

    pages = OwnPages(served[1], {"/metrics": lambda: b"up 1\n", "/broken": broken})
    yield pages
    pages.close()


def get(ingress: Ingress, path: str, key: str | None = KEY) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.get(f"http://127.0.0.1:{ingress.port()}/-{path}", headers=headers)


@pytest.mark.usefixtures("pages")
def test_who_has_a_key_sees_a_page(served: tuple[Ingress, Path]) -> None:
    answer = get(served[0], "/metrics?from=here")

    assert (answer.status_code, answer.text) == (200, "up 1\n")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize(
    ("key", "status", "words"),
    [
        (None, 401, "The ingress's own pages ask for a key: send"),
        ("flyteray_wrong", 401, "is not or no longer right"),
        (NARROW, 403, "The key 'bob' is for some apps only, and the ingress's own pages tell of all"),
        (OLD, 401, "'eve', is over"),
    ],
)
def test_others_see_nothing_of_it_although_no_app_asks_for_keys(
    served: tuple[Ingress, Path], key: str | None, status: int, words: str
) -> None:
    answer = get(served[0], "/metrics", key)

    assert answer.status_code == status
    assert words in answer.text
    assert "up 1" not in answer.text


@pytest.mark.usefixtures("pages")
def test_a_page_that_is_not_there_is_told_with_those_that_are(served: tuple[Ingress, Path]) -> None:
    answer = get(served[0], "/nope")

    assert answer.status_code == 404
    assert "/-/metrics, /-/broken" in answer.text


@pytest.mark.usefixtures("pages")
def test_what_a_page_raises_is_told(served: tuple[Ingress, Path]) -> None:
    answer = get(served[0], "/broken")

    assert answer.status_code == 503
    assert "RuntimeError: nobody home" in answer.text


def test_when_nobody_serves_them_they_are_to_be_asked_for_again(served: tuple[Ingress, Path]) -> None:
    answer = get(served[0], "/metrics")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "The ingress is starting again" in answer.text


def test_they_are_no_app(served: tuple[Ingress, Path]) -> None:
    ingress, folder = served

    with pytest.raises(ValueError, match="'-' can't be an app's name"):
        IngressState({"-": 0})
    again = Ingress(folder, watched=os.getpid())
    again.apply(STATE)  # as the next object of a process that has died reads it
    assert get(again, "/metrics").status_code == 503
    again.seen.stop()
    assert ingress.port() == again.port()
