"""A version gets copies of an app's requests, while users are answered by the one that serves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

import flyteray as flyte
from flyteray._client.deploy import DeployedAppEnvironment
from flyteray._cluster.local import LocalCluster
from flyteray._plan.info import ShadowInfo
from flyteray.app import Shadow
from flyteray.cli.root import flyteray
from flyteray.errors import DeploymentError, RuntimeUserError
from flyteray.remote import App, AppVersion, Key
from tests.integration import sample_apps as apps
from tests.processes import process
from tests.waiting import eventually


@pytest.fixture(scope="module")
def app(cluster: LocalCluster) -> Iterator[App]:
    with pytest.raises(
        RuntimeUserError, match="has no version that serves, so there are no requests to copy"
    ):
        flyte.deploy(apps.likely, version="v2", shadow=Shadow())
    flyte.with_servecontext(version="v1").serve(apps.live)
    yield App.get("shadowed")
    App.delete("shadowed")


def ask(app: App, count: int) -> None:
    """Users ask, and are answered by the version that serves."""
    with httpx.Client(timeout=60) as client:
        assert [client.get(f"{app.endpoint}/").json()["greeting"] for _ in range(count)] == ["one"] * count


def version(app: App, name: str) -> AppVersion:
    [found] = [each for each in app.versions() if each.name == name]
    return found


def shadow(app: App, name: str, holds: Callable[[ShadowInfo], bool]) -> ShadowInfo:
    """A version as a shadow, once that holds."""

    def found() -> ShadowInfo | None:
        told = version(app, name).shadow
        return told if told is not None and holds(told) else None

    return eventually(found, timeout=60)


def phases(app: App) -> dict[str, tuple[int, str]]:
    return {each.name: (each.share, each.phase) for each in app.versions()}


def command(*arguments: str) -> str:
    done = CliRunner().invoke(flyteray, arguments)
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def test_a_shadow_is_deployed_compared_and_remembered(app: App, cluster: LocalCluster) -> None:
    flyte.with_servecontext(version="v2", shadow=Shadow(share=100)).serve(apps.unlikely)
    assert phases(app) == {"v2": (0, "ready"), "v1": (100, "ready")}
    assert app.is_active()
    ask(app, 20)
    told = shadow(app, "v2", lambda told: told.compared >= 20)
    assert (told.outcome, told.share, told.beside, told.copied) == ("running", 100, "v1", 20)
    assert told.otherwise == {"500 200": 20}
    assert (told.live.classes, told.shadow.classes) == ({"2xx": 20}, {"5xx": 20})
    assert told.live.p50_s is not None
    assert told.shadow.p50_s is not None

    line = command("get", "app", "shadowed", "--versions", "-o", "table-simple")
    assert "100%: 20 copied, 20 answered otherwise (20 with 500 where v1 said 200), median" in line
    [first, _] = json.loads(command("get", "app", "shadowed", "--versions", "-o", "json"))
    assert first["shadow"]["otherwise"] == {"500 200": 20}

    process(cluster, "ray::Controller").kill()
    assert shadow(app, "v2", lambda told: told.copied == 20).otherwise == {"500 200": 20}
    ask(app, 20)
    shadow(app, "v2", lambda told: told.copied > 20)


def test_a_shadow_is_set_on_a_version_and_ended(app: App) -> None:
    flyte.with_servecontext(version="v3", traffic=0).serve(apps.likely)
    app.set_shadow("v3", Shadow(share=100))
    assert version(app, "v3").shadow is not None
    ended = version(app, "v2").shadow
    assert ended is not None
    assert (ended.outcome, ended.reason) == ("ended", "v3 is the shadow now")
    eventually(lambda: phases(app)["v2"] == (0, "retired"))
    ask(app, 10)
    told = shadow(app, "v3", lambda told: told.compared >= 10)
    assert told.otherwise == {}

    app.set_shadow(None)
    assert version(app, "v3").shadow == told.model_copy(update={"outcome": "ended", "reason": "by hand"})
    eventually(lambda: phases(app)["v3"] == (0, "retired"))
    with pytest.raises(RuntimeUserError, match="App 'shadowed' has no shadow that could be ended"):
        app.set_shadow(None)
    ask(app, 5)


def test_a_shadow_that_is_promoted_serves(app: App) -> None:
    command("update", "app", "shadowed", "--shadow", "v3=50", "--shadow-safe-only")
    told = shadow(app, "v3", lambda told: told.beside == "v1")
    assert (told.share, told.safe_only, told.copied) == (50, True, 0)
    with pytest.raises(ValueError, match="Version 'v1' of app 'shadowed' serves, or is about to"):
        app.set_shadow("v1")
    with pytest.raises(ValueError, match=r"has no version 'v9'\. Its versions: .*v1"):
        app.set_shadow("v9")
    app.set_traffic({"v1": 60, "v2": 40, "v3": 0})
    with pytest.raises(ValueError, match="'v2' of app 'shadowed' has 40 percent of the requests"):
        app.set_shadow("v2")
    assert version(app, "v3").shadow == told

    app.promote("v3")
    shadow(app, "v3", lambda told: told.reason == "it was promoted")
    assert httpx.get(f"{app.endpoint}/", timeout=60).json()["greeting"] == "two"
    app.rollback()
    ask(app, 5)


def test_a_new_version_that_takes_over_ends_a_shadow(app: App) -> None:
    app.set_shadow("v3", Shadow(share=100))
    flyte.with_servecontext(version="v4").serve(apps.live)
    ended = shadow(app, "v3", lambda told: told.outcome == "ended")
    assert ended.reason == "the traffic was divided in another way"
    eventually(lambda: phases(app)["v3"] == (0, "retired"))
    ask(app, 5)


def test_a_shadow_that_can_not_start_changes_nothing(app: App) -> None:
    with pytest.raises(DeploymentError, match="startup exploded"):
        flyte.with_servecontext(version="bad", shadow=Shadow()).serve(apps.broken_shadow)
    ended = shadow(app, "bad", lambda told: told.outcome == "ended")
    assert ended.reason is not None
    assert "it could not start" in ended.reason
    assert phases(app)["v4"] == (100, "ready")
    assert app.is_active()
    ask(app, 5)


def test_a_stopped_app_comes_back_with_its_shadow(app: App) -> None:
    app.set_shadow("v3", Shadow(share=100))
    command("update", "app", "shadowed", "--deactivate", "--wait")
    with pytest.raises(
        RuntimeUserError, match="has no version that serves, so there are no requests to copy"
    ):
        app.set_shadow("v2")
    app.activate(wait=True)
    ask(app, 5)
    shadow(app, "v3", lambda told: told.copied >= 5)
    command("update", "app", "shadowed", "--end-shadow")


def test_the_shadow_of_a_stopped_app_can_be_ended(app: App) -> None:
    app.set_shadow("v3", Shadow(share=100))
    app.deactivate(wait=True)
    app.set_shadow(None)
    assert shadow(app, "v3", lambda told: told.outcome == "ended").reason == "by hand"
    app.activate(wait=True)
    assert phases(app)["v3"] == (0, "retired")


def test_what_is_deployed_as_a_shadow_is_told_of_as_that(app: App) -> None:
    [deployment] = flyte.deploy(apps.likely, version="v5", shadow=Shadow())
    deployed = deployment.envs["shadowed"]
    assert isinstance(deployed, DeployedAppEnvironment)
    assert deployed.version == "shadowed.v5"
    app.wait()
    command("update", "app", "shadowed", "--end-shadow")


def test_metrics_tell_of_shadows(app: App) -> None:
    app.set_shadow("v3", Shadow(share=100))
    ask(app, 5)
    shadow(app, "v3", lambda told: told.compared >= 5)
    key = Key.create("prometheus-of-shadows", role="read")
    url = f"{app.endpoint.rpartition('/')[0]}/-/metrics"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {key.value}"}, timeout=60)
    Key.delete(key.name)
    copies = {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "flyteray_shadow_copies_total" and sample.labels["version"] == "v3"
    }
    assert copies["same"] >= 5
    assert copies["otherwise"] == copies["many"] == 0
