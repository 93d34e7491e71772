"""Apps in local mode: processes beside this one, without Ray."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import flyteray as flyte
from flyteray._client.local.app import LocalApp
from flyteray._client.local.serve import local_apps
from flyteray._client.session.session import session
from flyteray._control.registry.registry import Registry
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import CodeRef, EnvironmentSpec, RunSpec, TaskSpec
from flyteray._plan.values.outputs import output_key
from flyteray.errors import (
    ActivationTimeoutError,
    DeploymentError,
    ParameterMaterializationError,
    SecretNotFoundError,
)
from flyteray.io import Dir, File
from flyteray.remote import AppPhase
from flyteray.storage import open_storage
from flyteray.storage.values import write_value
from tests.acceptance import local_apps as apps
from tests.processes import runs, words
from tests.waiting import eventually


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of their own for these tests; nothing of their apps is left after them."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYTERAY_HOME", str(folder))
        patch.setenv("LOCAL_TOKEN", "not to be told")
        patch.setenv(apps.NOTES, str(folder / "notes"))
        for name in ("FLYTERAY_STORAGE", "FLYTERAY_DATABASE", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        session.cache_clear()  # it knows the home of the tests before
        yield folder
        local_apps(folder).end()
    session.cache_clear()
    assert [each for each in (folder / "local-apps").iterdir() if each.is_dir()] == []


@pytest.fixture(scope="module")
def served(home: Path) -> tuple[flyte.AppHandle, dict[str, Any], dict[str, str]]:
    """The app that needs everything, its answer, and the environment of this process before."""
    record_a_run(home, "elsewhere.train", ({"of": "a cluster"},))
    flyte.with_runcontext(mode="local").run(apps.train, 0.5)
    (home / "given.txt").write_text("content")
    (home / "folder").mkdir()
    (home / "folder" / "one").touch()
    before = environment()
    app = flyte.with_servecontext(
        mode="local",
        activate_timeout=180,
        env_vars={"BOTH": "said", "SAID": "said"},
        project="p",
        domain="d",
        raw_data_path="/raw",
        log_level=10,
        log_format="json",
        user_log_level=20,
        parameter_values={
            "everything": {
                "given": File(path=str(home / "given.txt")),
                "folder": Dir(path=str(home / "folder")),
            }
        },
    ).serve(apps.everything)
    return app, httpx.get(app.url, timeout=60).json(), before


def environment() -> dict[str, str]:
    """The variables of this process, without pytest's own."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def record_a_run(home: Path, task: str, outputs: tuple[Any, ...]) -> None:
    """What a local cluster leaves in the home of a run that succeeded."""
    code = CodeRef(bundle="", module="m", name="f")
    spec = RunSpec(
        name="recorded",
        task=TaskSpec(name=task, code=code, environment=EnvironmentSpec(num_cpus=1)),
        request=uuid.uuid4().hex,
    )
    registry = Registry(f"sqlite:///{home / 'storage' / 'registry.sqlite'}")
    now = datetime.now(timezone.utc)
    registry.runs.create(spec, now)
    registry.runs.finish("recorded", ActionPhase.SUCCEEDED, None, 1, now)
    registry.close()
    write_value(open_storage(str(home / "storage")), output_key("recorded"), outputs)


def test_every_kind_of_parameter_is_resolved(served: Any) -> None:
    _, answer, _ = served

    assert answer["text"] == answer["variables"]["TEXT"] == "declared"
    assert (answer["file"], answer["folder"]) == ("content", ["one"])
    assert (answer["model"], answer["said"]) == ({"rate": 0.5}, "trained at 0.5")
    assert answer["recorded"] == {"of": "a cluster"}
    assert answer["backend"] == answer["variables"]["BACKEND"] == apps.backend.endpoint
    assert httpx.get(answer["backend"], timeout=60).json() == {"mode": "local"}


def test_an_app_knows_where_it_runs(served: Any) -> None:
    app, answer, _ = served

    assert answer["context"] == ["local", "p", "d", "/raw"]
    assert app.url == app.endpoint == f"http://localhost:{answer['own_port']}"
    assert answer["backend_endpoint"] == apps.backend.endpoint
    assert answer["run"] == ["LocalRun", "trained at 2.0"]
    assert answer["nested"] == "LocalApp"
    assert httpx.get(answer["inner"], timeout=60).status_code == 404
    assert answer["folder_is_code"]
    assert not answer["ray"]


def test_what_is_said_when_serving_goes_to_the_app_alone(served: Any) -> None:
    _, answer, before = served

    assert answer["levels"] == ["10", "json", "20"]
    assert [answer["variables"][name] for name in ("DECLARED", "BOTH", "SAID")] == [
        "declared",
        "said",
        "said",
    ]
    assert answer["secret"] == "not to be told"
    assert environment() == before


def test_the_endpoint_is_that_of_the_local_app_here_and_in_local_tasks(served: Any) -> None:
    url = flyte.with_runcontext(mode="local").run(apps.ask_backend).outputs()[0]

    assert url == apps.backend.endpoint
    assert url.startswith("http://localhost:")


def test_a_live_output_is_that_of_the_newest_run_that_the_app_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    local = flyte.with_runcontext(mode="local")
    local.run(apps.train, 1.0)
    app = flyte.with_servecontext(mode="local").serve(apps.live)
    assert httpx.get(app.url, timeout=60).json() == 1.0

    local.run(apps.train, -1.0)
    eventually(lambda: "a rate below zero" in capsys.readouterr().err)
    assert httpx.get(app.url, timeout=60).json() == 1.0
    local.run(apps.train, 3.0)
    eventually(lambda: httpx.get(app.url, timeout=60).json() == 3.0)
    app.deactivate(wait=True)


def test_a_handle_starts_and_stops_its_app_again_and_again(home: Path) -> None:
    app = flyte.with_servecontext(mode="local").serve(apps.note)
    assert isinstance(app, flyte.AppHandle)
    eventually(lambda: app.deployment_status is AppPhase.ACTIVE)  # a busy app may not answer at once
    assert app.desired_state == "active"
    first = httpx.get(app.url, timeout=60).json()
    assert flyte.with_servecontext(mode="local", health_check_interval=0.5).serve(apps.note) is app
    assert isinstance(app, LocalApp)
    assert app.patience.health_check_interval == 0.5
    assert httpx.get(app.url, timeout=60).json() == first

    app.deactivate(wait=True)
    assert (app.is_deactivated(), app.deployment_status, app.desired_state) == (
        True,
        AppPhase.STOPPED,
        "stopped",
    )
    assert not psutil.pid_exists(first)
    app.activate(wait=True)
    assert httpx.get(app.url, timeout=60).json() != first
    asyncio.run(app.deactivate.aio(wait=True))

    notes = [line.split()[0] for line in (home / "notes").read_text().splitlines()]
    assert notes == ["begin", "end", "begin", "end"]


def test_a_changed_app_takes_the_place_of_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    old = flyte.with_servecontext(mode="local").serve(apps.note)
    before = httpx.get(old.url, timeout=60).json()
    with monkeypatch.context() as patch:
        patch.setattr(apps.note, "secrets", (flyte.Secret("nowhere"),))
        with pytest.raises(SecretNotFoundError, match="nowhere"):
            flyte.with_servecontext(mode="local").serve(apps.note)
    assert httpx.get(old.url, timeout=60).json() == before  # what can't be served takes nobody's place

    new = flyte.with_servecontext(mode="local", env_vars={"CHANGED": "1"}).serve(apps.note)

    assert new.url == old.url
    assert new.revision == old.revision + 1
    assert httpx.get(new.url, timeout=60).json() != before
    assert old.is_deactivated()
    new.deactivate(wait=True)


def test_an_app_that_ends_by_itself_has_failed_and_can_be_started_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = flyte.with_servecontext(mode="local").serve(apps.note)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{app.url}/crash", timeout=60)

    eventually(lambda: app.deployment_status is AppPhase.FAILED)
    with pytest.raises(DeploymentError, match=r"exited with status 3(.|\n)*about to crash"):
        app.wait()
    assert "about to crash" in capsys.readouterr().err
    app.activate(wait=True)
    eventually(app.is_active)
    app.deactivate(wait=True)
    app.show_logs(max_lines=2, show_ts=True)
    assert re.search(r"^\d{4}-\d\d-\d\d [\d:]{8} the app begins$", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(ValueError, match="replicas have no names"):
        app.show_logs(replica_name="x")


def test_an_app_is_up_inside_a_block_only() -> None:
    app = flyte.with_servecontext(mode="local").serve(apps.plain)

    with pytest.raises(ZeroDivisionError), app.ephemeral_ctx_sync() as inside:
        1 / len(httpx.get(f"{inside.url}/x", timeout=60).text.removeprefix("plain"))
    assert app.is_deactivated()

    async def block() -> None:
        async with app.ephemeral_ctx(), httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(app.url)).text == "plain"

    asyncio.run(block())
    assert app.is_deactivated()
    with pytest.raises(ActivationTimeoutError, match=r"within 0\.01 seconds"):
        app.activate().wait(timeout=0.01)
    app.watch("deactivated")


def test_a_program_is_served_and_ends_with_all_that_it_started() -> None:
    app = flyte.with_servecontext(mode="local", health_check_path="/no-such").serve(apps.program)
    below = psutil.Process().children(recursive=True)
    program = [process for process in below if "http.server" in words(process)]
    answer = httpx.get(app.url, timeout=60)
    app.deactivate(wait=True)

    assert "Directory listing" in answer.text
    assert program
    assert not any(map(runs, program))


def test_a_failed_start_raises_what_the_user_raised_with_the_end_of_the_log() -> None:
    with pytest.raises(DeploymentError, match=r"startup exploded(.|\n)*lighting the fuse") as caught:
        flyte.with_servecontext(mode="local").serve(apps.broken)

    assert isinstance(caught.value.__cause__, flyte.errors.RuntimeUserError)
    assert isinstance(caught.value.__cause__.__cause__, RuntimeError)
    assert "in explode" in str(caught.value.__cause__.__cause__.__cause__)


def test_a_start_that_takes_too_long_is_ended_and_says_what_it_waited_for() -> None:
    with pytest.raises(
        TimeoutError, match=r"failed to become active(.|\n)*(in dawdle|import of its code)"
    ) as caught:
        flyte.with_servecontext(mode="local", activate_timeout=5).serve(apps.slow)

    assert isinstance(caught.value, ActivationTimeoutError)
    eventually(
        lambda: (
            not [
                each for each in psutil.Process().children(recursive=True) if "slow" in " ".join(words(each))
            ]
        )
    )


def test_a_busy_port_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(apps.plain, "port", port)

        with pytest.raises(
            DeploymentError, match=f"'plain' can't listen on port {port}: .*, by process {os.getpid()} "
        ):
            flyte.with_servecontext(mode="local").serve(apps.plain)


def test_what_a_parameter_lacks_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(
        "INTERNAL_APP_ENDPOINT_PATTERN", raising=False
    )  # a connected process knows a cluster's apps
    missing = flyte.app.AppEnvironment(
        name="program",
        args="sleep 1",
        parameters=[flyte.app.Parameter("model", flyte.app.RunOutput(type="string", task_name="no.such"))],
    )
    apps.missing = missing  # type: ignore[attr-defined]
    context = flyte.with_servecontext(mode="local")
    mistyped = flyte.app.AppEnvironment(
        name="mistyped",
        args="sleep 1",
        parameters=[
            flyte.app.Parameter("model", flyte.app.RunOutput(type="string", task_name="local-tasks.trian"))
        ],
    )
    apps.mistyped = mistyped  # type: ignore[attr-defined]
    meant = (
        r"Did you mean 'local-tasks\.train'( or '[a-z-]+\.train')*\?"  # other files' tasks may be near too
    )
    with pytest.raises(ParameterMaterializationError, match=meant):
        context.serve(mistyped)
    with pytest.raises(ParameterMaterializationError, match=r"'model': no runs found for task 'no\.such'"):
        context.serve(missing)
    missing.parameters = [flyte.app.Parameter("url", flyte.app.AppEndpoint("nowhere"))]
    with pytest.raises(ParameterMaterializationError, match="app 'nowhere' is not served in local mode"):
        context.serve(missing)
