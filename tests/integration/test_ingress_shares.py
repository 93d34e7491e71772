"""Shares of an app's requests go to versions beside the one that serves."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from flyteray._declare.options.shares import BY_COOKIE
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest
from tests.integration.ingress_servers import replicas


@pytest.fixture(scope="module")
def ingress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    ingress = Ingress(tmp_path_factory.mktemp("ingress"), watched=os.getpid())
    yield ingress
    ingress.stop()


@pytest.fixture(scope="module")
def both() -> Iterator[dict[int, dict[int, object]]]:
    with replicas("v1", "v2") as [v1, v2]:
        yield {0: {1: v1.slot}, 1: {1: v2.slot}}


def split(both: dict[int, dict[int, object]], share: int, sticks: str | None = None) -> IngressState:
    return IngressState(
        {"app": 0, "other": 0},
        both,  # type: ignore[arg-type]
        shares={"app": {1: share}},
        sticks={"app": sticks} if sticks else {},
        versions={"app": {"one": 0, "two": 1}},
        owners={0: "app", 1: "app"},
    )


def ask(ingress: Ingress, path: str = "/app/", **options: object) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{ingress.port()}{path}", timeout=60, **options)  # type: ignore[arg-type]


def answers(
    ingress: Ingress, count: int, client: httpx.Client | None = None, **options: object
) -> Counter[str]:
    url = f"http://127.0.0.1:{ingress.port()}/app/"
    with client or httpx.Client(timeout=60) as asking:
        return Counter(asking.get(url, **options).headers["x-replica"] for _ in range(count))  # type: ignore[arg-type]


def test_a_share_of_the_requests_goes_to_another_version(
    ingress: Ingress, both: dict[int, dict[int, object]]
) -> None:
    ingress.apply(split(both, 0))
    assert answers(ingress, 50) == {"v1": 50}
    ingress.apply(split(both, 30))
    found = answers(ingress, 600)
    assert 110 < found["v2"] < 250  # a binomial of 180, give or take six deviations
    ingress.apply(split(both, 100))
    assert answers(ingress, 50) == {"v2": 50}
    assert ask(ingress, "/other/").headers["x-replica"] == "v1"


def test_a_client_keeps_its_version_by_a_cookie(ingress: Ingress, both: dict[int, dict[int, object]]) -> None:
    ingress.apply(split(both, 50, BY_COOKIE))
    first = Counter()  # type: ignore[var-annotated]
    for _ in range(40):
        client = httpx.Client(timeout=60)
        found = answers(ingress, 5, client)
        assert len(found) == 1
        first.update(found)
    assert first.keys() == {"v1", "v2"}
    response = ask(ingress)
    assert "Path=/app/; HttpOnly" in response.headers["set-cookie"]
    # More of the requests is for v2: who has it keeps it.
    drawn = {"cookie": "flyteray-share=10"}
    assert answers(ingress, 5, headers=drawn) == {"v2": 5}
    ingress.apply(split(both, 11, BY_COOKIE))
    assert answers(ingress, 5, headers=drawn) == {"v2": 5}
    ingress.apply(split(both, 10, BY_COOKIE))
    assert answers(ingress, 5, headers=drawn) == {"v1": 5}
    for wrong in ("", "-1", "1000", "x"):
        assert ask(ingress, headers={"cookie": f"flyteray-share={wrong}"}).status_code == 200


def test_a_client_keeps_its_version_by_a_header(ingress: Ingress, both: dict[int, dict[int, object]]) -> None:
    ingress.apply(split(both, 50, "X-User"))
    found = {}
    for user in range(40):
        [found[user]] = answers(ingress, 3, headers={"X-User": f"user-{user}"})
    assert Counter(found.values()).keys() == {"v1", "v2"}
    ingress.apply(split(both, 100, "X-User"))
    ingress.apply(split(both, 50, "X-User"))
    assert {
        user: next(iter(answers(ingress, 1, headers={"x-user": f"user-{user}"}))) for user in found
    } == found
    assert ask(ingress).status_code == 200  # without the header it is some version


def test_a_request_may_name_its_version(ingress: Ingress, both: dict[int, dict[int, object]]) -> None:
    ingress.apply(split(both, 0))
    for asked in ({"X-Flyteray-Version": "two"}, {"Cookie": "flyteray-version=two"}):
        response = ask(ingress, headers=asked)
        assert (response.headers["x-replica"], response.headers["x-flyteray-version"]) == ("v2", "two")
    assert ask(ingress, headers={"Cookie": "flyteray-version=gone"}).headers["x-replica"] == "v1"
    missing = ask(ingress, headers={"X-Flyteray-Version": "gone", "Accept": "application/json"})
    assert missing.status_code == 404
    assert "has no version of the name that is asked for" in missing.json()["error"]
    # of another app
    assert ask(ingress, "/other/", headers={"X-Flyteray-Version": "two"}).status_code == 404


def test_a_state_with_shares_is_found_again(ingress: Ingress, both: dict[int, dict[int, object]]) -> None:
    for sticks in (None, BY_COOKIE, "X-User"):
        state = split(both, 7, sticks)
        ingress.apply(state)
        assert ingress._workers.serving(Conversation.state) == state


def test_an_app_that_keeps_clients_by_a_cookie_is_not_given_their_keys(
    ingress: Ingress, both: dict[int, dict[int, object]]
) -> None:
    state = split(both, 50, BY_COOKIE)
    ingress.apply(replace(state, private=frozenset({"app"}), keys={key_digest("flyteray_one"): Grant("ann")}))
    headers = ask(ingress, headers={"Authorization": "Bearer flyteray_one"}).json()["headers"]
    assert headers["x-flyteray-user"] == "ann"
    assert "authorization" not in headers
    ingress.apply(state)
