"""Spare processes become the next replicas; nobody misses one that is not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import flyteray as flyte
from flyteray._actors.questions import ask
from flyteray._client.session.session import session
from flyteray._cluster.local import LocalCluster
from flyteray._plan.spares import BLANK
from flyteray.app import Scaling
from flyteray.remote import App, Secret
from tests.integration import sample_spares as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "journal"
    App.delete("spared")


def serve(journal: Path, env: Any = samples.spared, replicas: int = 1, who: str = "me") -> App:
    env.scaling = Scaling(replicas=replicas, spare=1)  # the environment itself is what the code names
    variables = {"JOURNAL": str(journal), "REFUSE": f"{journal}.refuse", "WHO": who}
    app = flyte.with_servecontext(env_vars=variables).serve(env)
    assert isinstance(app, App)
    eventually(lambda: app.sync().info.ready_replicas == replicas)
    return app


def replicas(name: str) -> set[int]:
    return {each.pid for each in ask(session().controller.apps.replicas(name))}


def spares(kind: str) -> set[int]:
    """The processes of a kind, named by how it begins, that were started for nobody and are no replicas yet."""
    found = set()
    for process in psutil.process_iter():
        try:
            environ = process.environ()
        except (psutil.Error, OSError):
            continue
        ray_home = environ.get("FLYTERAY_HOME") == os.environ["FLYTERAY_HOME"]
        if (
            ray_home
            and environ.get("FLYTERAY_SPARE", "").startswith(kind)
            and environ["RAY_JOB_ID"] == "ffffffff"
        ):
            found.add(process.pid)
    return found - {
        each.pid for app in App.listall() for each in ask(session().controller.apps.replicas(app.name))
    }


def the_spare(journal: Path, others: set[int] = frozenset()) -> int:  # type: ignore[assignment]
    """The process id of a spare that has loaded the module."""

    def loaded() -> set[int]:
        noted = {
            int(line.split()[0]) for line in journal.read_text().splitlines() if line.endswith("imported")
        }
        return (spares("spared-") & noted) - others

    return eventually(loaded).pop()


def answer_of(app: App, pid: int) -> dict[str, Any]:
    """What a replica answers, once it is asked."""

    def ask_it() -> dict[str, Any] | None:
        answer: dict[str, Any] = httpx.get(app.endpoint, timeout=60).raise_for_status().json()
        return answer if answer["pid"] == pid else None

    return eventually(ask_it)


def test_the_next_replica_is_the_spare_process_and_another_one_follows(journal: Path) -> None:
    app = serve(journal)
    [first] = replicas("spared")
    spare = the_spare(journal)
    assert f"{spare} up" not in journal.read_text()

    serve(journal, replicas=2)

    assert replicas("spared") == {first, spare}
    answer = answer_of(app, spare)
    assert answer["at_import"] == answer["now"]
    assert answer["now"]["WHO"] == "me"
    assert answer["folders"][0] == answer["folders"][1]
    assert answer["threads"] is None
    assert [line for line in journal.read_text().splitlines() if line.startswith(f"{spare} ")] == [
        f"{spare} imported",
        f"{spare} up",
    ]
    following = the_spare(journal, {spare})

    App.delete("spared")

    eventually(lambda: not psutil.pid_exists(following))
    assert f"{spare} down" in journal.read_text()
    assert f"{following} up" not in journal.read_text()


def test_a_spare_that_is_killed_is_not_missed(journal: Path) -> None:
    serve(journal)
    [first] = replicas("spared")
    spare = the_spare(journal)
    os.kill(spare, signal.SIGKILL)

    serve(journal, replicas=2)

    both = replicas("spared")
    assert first in both
    assert spare not in both
    assert len(both) == 2
    assert the_spare(journal, {spare}) not in both


def test_a_new_version_has_spares_of_its_own(journal: Path) -> None:
    serve(journal)
    old = the_spare(journal)

    app = serve(journal, who="somebody")

    eventually(lambda: not psutil.pid_exists(old))
    spare = the_spare(journal, {old})
    serve(journal, replicas=2, who="somebody")
    assert spare in replicas("spared")
    assert answer_of(app, spare)["at_import"]["WHO"] == "somebody"


def test_an_app_with_secrets_loads_its_code_when_the_spare_is_taken(tmp_path: Path) -> None:
    Secret.create("SPARES_KEY", "first")
    journal = tmp_path / "journal"
    serve(journal, samples.secretive)
    spare = eventually(lambda: spares("secretive-")).pop()
    Secret.create("SPARES_KEY", "second")

    app = serve(journal, samples.secretive, replicas=2)

    answer = answer_of(app, spare)
    assert answer["at_import"] == answer["now"]
    assert answer["now"]["SPARES_KEY"] == "second"
    App.delete("secretive")
    Secret.delete("SPARES_KEY")


def test_a_spare_that_can_not_load_the_code_ends_and_the_replica_is_started_without(journal: Path) -> None:
    refuse = Path(f"{journal}.refuse")
    serve(journal)
    first = the_spare(journal)
    refuse.touch()
    os.kill(first, signal.SIGKILL)
    failed = eventually(lambda: spares("spared-") - {first}).pop()
    eventually(lambda: not psutil.pid_exists(failed))
    refuse.unlink()

    serve(journal, replicas=2)

    assert len(replicas("spared")) == 2


def test_a_new_app_gets_a_blank_process(cluster: LocalCluster) -> None:
    app = flyte.serve(samples.plain)
    blank = eventually(lambda: spares(BLANK)).pop()

    other = flyte.serve(samples.plain_too)

    assert httpx.get(other.endpoint, timeout=60).json()["pid"] == blank
    eventually(lambda: spares(BLANK) - {blank})
    for each in (app, other):
        App.delete(each.name)
