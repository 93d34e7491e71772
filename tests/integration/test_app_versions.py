"""Versions of an app share its requests, and come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import flyteray as flyte
from flyteray.app import Canary
from flyteray.errors import ActivationTimeoutError, DeploymentError, RuntimeUserError
from flyteray.remote import App, AppVersion
from tests.integration import sample_apps as apps
from tests.integration.test_ingress_changes import Load
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def divided(cluster: Any) -> Iterator[App]:
    flyte.with_servecontext(version="v1").serve(apps.one)
    yield App.get("divided")
    App.delete("divided")


def answers(app: App, count: int = 30, **headers: str) -> Counter[str]:
    with httpx.Client(timeout=60, headers=headers) as client:
        return Counter(client.get(f"{app.endpoint}/").json()["greeting"] for _ in range(count))


def shares(app: App) -> dict[str, tuple[int, str]]:
    return {version.name: (version.share, version.phase) for version in app.versions()}


def test_a_version_comes_beside_the_one_that_serves_and_takes_over(divided: App) -> None:
    with pytest.raises(RuntimeUserError, match="no version that served before"):
        divided.rollback()

    flyte.with_servecontext(version="v2", traffic=0).serve(apps.two)
    assert shares(divided) == {"v2": (0, "ready"), "v1": (100, "ready")}
    assert answers(divided) == {"one": 30}
    assert answers(divided, 3, **{"X-Flyteray-Version": "v2"}) == {"two": 3}

    divided.set_traffic({"v1": 50, "v2": 50}, sticky="X-User")
    assert {user: len(answers(divided, 3, **{"X-User": str(user)})) for user in range(5)} == dict.fromkeys(
        range(5), 1
    )
    divided.set_traffic({"v1": 50, "v2": 50})
    assert answers(divided, 60).keys() == {"one", "two"}

    divided.promote("v2")
    assert answers(divided) == {"two": 30}
    eventually(lambda: shares(divided) == {"v2": (100, "ready"), "v1": (0, "retired")})

    divided.rollback()  # it is started again
    assert answers(divided) == {"one": 30}
    eventually(lambda: shares(divided) == {"v2": (0, "retired"), "v1": (100, "ready")})


def test_what_a_version_was_to_have_is_taken_back_where_it_can_not_start(divided: App) -> None:
    divided.promote("v1")
    with pytest.raises(DeploymentError, match="startup exploded"):
        flyte.with_servecontext(version="bad", traffic=20).serve(apps.broken_two)

    assert answers(divided) == {"one": 30}
    assert shares(divided)["bad"] == (0, "failed")
    assert divided.is_active()
    with pytest.raises(DeploymentError, match="startup exploded"):
        divided.set_traffic({"v1": 80, "bad": 20})
    assert shares(divided)["v1"] == (100, "ready")

    divided.set_traffic({"v1": 50, "v2": 50})
    with pytest.raises(DeploymentError, match="startup exploded"):
        flyte.with_servecontext(version="worse", traffic=20).serve(apps.broken_two)
    told = shares(divided)
    assert (told["v1"], told["v2"], told["worse"]) == ((50, "ready"), (50, "ready"), (0, "failed"))


def test_a_version_that_can_not_start_is_told_of_where_its_name_comes_from_its_contents(
    divided: App,
) -> None:
    divided.promote("v1")
    with pytest.raises(DeploymentError, match="startup exploded"):
        flyte.with_servecontext(traffic=20).serve(apps.broken_with_file)
    assert shares(divided)["v1"] == (100, "ready")


@pytest.mark.parametrize("share", [100, 10])
def test_a_version_that_is_not_ready_in_time_is_taken_back(share: int) -> None:
    flyte.with_servecontext(version="v1").serve(apps.large)
    app = App.get("large")
    try:
        why = "not within the 1 s that it has: it waits for 2 CPUs on one node"
        with pytest.raises(ActivationTimeoutError, match=why):
            flyte.with_servecontext(version="v2", activate_timeout=1, traffic=share).serve(apps.larger)

        assert answers(app) == {"large": 30}
        assert shares(app) == {"v2": (0, "failed"), "v1": (100, "ready")}
        assert app.is_active() is (share < 100)
        if share == 100:
            app.rollback()
            assert app.is_active()
    finally:
        App.delete("large")


def test_shares_that_can_not_be_are_refused(divided: App) -> None:
    with pytest.raises(ValueError, match=r"has no version 'v9'\. Its versions: .*v1"):
        divided.set_traffic({"v9": 100})
    with pytest.raises(ValueError, match=r"add up to 100 percent, and .* are 95"):
        divided.set_traffic({"v1": 95})
    with pytest.raises(TypeError, match=r"whole number of percent, got 97\.5"):
        divided.set_traffic({"v1": 97.5, "v2": 2.5})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match='sticky must be "cookie" or the name of a header'):
        divided.set_traffic({"v1": 100}, sticky="a b")
    with pytest.raises(ValueError, match="must be 0 to 100 percent, got 101"):
        flyte.with_servecontext(traffic=101)


def test_a_stopped_app_has_no_traffic_and_comes_back_divided(divided: App) -> None:
    divided.set_traffic({"v1": 50, "v2": 50})
    divided.deactivate(wait=True)
    with pytest.raises(RuntimeUserError, match="is stopped: nobody has its traffic"):
        divided.promote("v2")
    divided.activate(wait=True)
    assert answers(divided, 60).keys() == {"one", "two"}


def test_a_canary_takes_over_by_itself_or_is_taken_back(divided: App) -> None:
    divided.promote("v1")
    canary = Canary(steps=(20, 50), every=1)
    with Load(f"{divided.endpoint}/", pause=0.05) as load:  # the replicas that start need the processor, too
        for version, env, outcome in (("v3", apps.failing, "taken back"), ("v4", apps.two, "promoted")):
            deployed = flyte.deploy(env, version=version, canary=canary)
            assert deployed[0].version == version
            last = eventually(lambda version=version: ended(divided, version), timeout=180)  # type: ignore[misc]
            assert last.canary is not None
            assert (last.name, last.canary.outcome) == (version, outcome)
            assert last.canary.canary.requests >= 1
            assert last.canary.serving.error_rate == 0
            if outcome == "taken back":
                assert "of its requests failed, 0.0% of the others" in str(last.canary.reason)
                assert last.canary.canary.error_rate > 0.3  # of GET all
                assert shares(divided)["v1"] == (100, "ready")
        eventually(lambda: shares(divided)["v4"] == (100, "ready"))
        failed = load.answers["500"]
        load.goes_on()

    assert load.answers.keys() == {"200", "405", "500"}  # it does not take POST
    assert load.answers["500"] == failed


def ended(app: App, version: str) -> AppVersion | None:
    """A version whose canary has ended."""
    [found] = [each for each in app.versions() if each.name == version]
    return None if found.canary is None or found.canary.outcome == "running" else found
