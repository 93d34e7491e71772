"""Applications of Ray Serve's, served as apps: what their code meets, and that nothing of them is lost or left."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

import flyteray as flyte
from flyteray._cluster.local import LocalCluster
from flyteray._serve.ray_serve import deployment
from flyteray.errors import DeploymentError, PlacementError
from flyteray.remote import App
from tests.integration import sample_serve as samples
from tests.processes import process
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def composed(cluster: Any) -> Iterator[App]:
    """A composition; each test leaves it serving some version."""
    yield flyte.serve(samples.first)
    App.delete("composition")


@pytest.fixture(scope="module")
def plain(cluster: Any) -> Iterator[App]:
    yield flyte.serve(samples.plain)
    App.delete("plain-serve")


def parts(version_of: str) -> dict[str, set[str]]:
    """The deployments of Serve's applications of an app."""
    return {
        name: set(application["deployments"])
        for name, application in deployment._details()["applications"].items()
        if name.startswith(f"{version_of}-")
    }


def test_requests_reach_the_ingress_deployment_and_its_handles_the_others(composed: App) -> None:
    with httpx.Client(base_url=composed.endpoint, timeout=60) as client:
        assert client.get("/twice/21").json() == 42
        with client.stream("GET", "/stream") as answer:
            assert b"".join(answer.iter_raw()) == b"0\n2\n4\n"
        assert "/composition/openapi.json" in client.get("/docs").text

    async def talk() -> list[str]:
        async with websockets.connect(f"{composed.endpoint}/ws".replace("http", "ws")) as socket:
            await socket.send("4")
            await socket.send("5")
            return [str(await socket.recv()), str(await socket.recv())]

    assert asyncio.run(talk()) == ["8", "10"]


def test_every_process_has_what_the_app_has(composed: App) -> None:
    told = [httpx.get(f"{composed.endpoint}/tell", timeout=60).json() for _ in range(20)]

    assert {each["here"]["root"] for each in told} == {"/composition"}
    assert {each["here"]["greeting"] for each in told} == {"hi"}
    found = [each["part"] for each in told]
    assert {(each["own"], each["shared"], each["greeting"]) for each in found} == {("own", "shared", "hi")}
    assert len({each["pid"] for each in found}) == 2
    assert {each["app"] for each in found} == set(parts("composition"))


def test_the_log_has_what_its_deployments_write(composed: App, capsys: pytest.CaptureFixture[str]) -> None:
    httpx.get(f"{composed.endpoint}/twice/111", timeout=60)

    def told() -> str:
        composed.show_logs(follow=False, replica_name="Twice")
        return capsys.readouterr().out

    eventually(lambda: re.search(r"^\[Twice \w{8}\] 111 is asked for$", told(), re.MULTILINE))


def test_a_model_is_asked_for_by_the_header_of_serve(composed: App) -> None:
    answer = httpx.get(
        f"{composed.endpoint}/model", headers={"serve_multiplexed_model_id": "bert"}, timeout=60
    )

    assert answer.json() == "bert BERT"


def test_a_client_that_goes_away_ends_what_other_deployments_do_for_it(composed: App) -> None:
    def state() -> list[bool]:
        return list(httpx.get(f"{composed.endpoint}/state", timeout=60).json())

    async def leave() -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            asking = asyncio.ensure_future(client.get(f"{composed.endpoint}/work"))
            await asyncio.to_thread(eventually, lambda: state() == [True, False])
            asking.cancel()

    asyncio.run(leave())

    eventually(lambda: state() == [True, True])


def test_a_new_version_takes_over_with_deployments_of_its_own_and_loses_no_request(composed: App) -> None:
    seen: list[int] = []
    failed: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=composed.endpoint, timeout=60) as client:
            while not stop.wait(0.05):
                answer = client.get("/twice/7")
                (seen if answer.status_code == 200 else failed).append(answer.json())

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        slow = pool.submit(httpx.get, f"{composed.endpoint}/slow", timeout=60)
        flyte.serve(samples.second)
        eventually(lambda: seen and seen[-1] == 21)
        stop.set()
        assert slow.result().json() in (2, 3)
        for each in asking:
            each.result()

    assert failed == []
    assert set(seen) == {14, 21}
    eventually(lambda: list(parts("composition").values()) == [{"flyteray-replica", "Twice", "Models"}])


def test_a_part_that_can_t_start_is_told_of_with_its_traceback_and_the_old_version_goes_on(
    composed: App,
) -> None:
    with pytest.raises(DeploymentError, match=r"This part is broken\.") as caught:
        flyte.serve(samples.broken_part)

    assert 'raise RuntimeError("This part is broken.")' in "".join(traceback.format_exception(caught.value))
    assert httpx.get(f"{composed.endpoint}/twice/1", timeout=60).status_code == 200
    eventually(lambda: len(parts("composition")) == 1)


def test_an_ingress_deployment_that_can_t_start_is_told_of(cluster: Any) -> None:
    with pytest.raises(DeploymentError, match=r"This part is broken\."):
        flyte.serve(samples.broken_ingress)

    App.delete("broken-ingress")


def test_a_part_that_finds_no_hardware_is_named(cluster: Any) -> None:
    with pytest.raises(
        PlacementError, match=r"Deployment 'Impossible' of app 'too-large-part' .* asks for .*64 GPU"
    ):
        flyte.serve(samples.too_large)


def test_parts_compute_with_one_copy_of_a_task_s_output_and_follow_newer_ones(cluster: Any) -> None:
    flyte.run(samples.weights, 1.0).wait()
    app = flyte.serve(samples.weighing)

    def told() -> list[dict[str, Any]]:
        return [httpx.get(app.endpoint, timeout=60).json() for _ in range(20)]

    seen = told()
    eventually(lambda: seen.extend(told()) or len({each["pid"] for each in seen}) == 2)
    assert {each["value"] for each in seen} == {1.0}
    (place,) = {each["place"] for each in seen}
    assert place.startswith("/dev/shm/")

    flyte.run(samples.weights, 2.0).wait()
    eventually(lambda: {each["value"] for each in told()} == {2.0})
    App.delete("serve-weighing")


def test_a_part_has_as_many_replicas_as_its_own_requests_need(cluster: Any) -> None:
    app = flyte.serve(samples.busy)

    with ThreadPoolExecutor(8) as pool:

        def pids() -> set[int]:
            asked = [pool.submit(httpx.get, f"{app.endpoint}/twice/1", timeout=60) for _ in range(8)]
            return {each.result().json() for each in asked}

        eventually(lambda: len(pids()) == 2)
    App.delete("busy-part")


def test_a_part_that_dies_comes_back_and_why_it_could_not_is_shown_only_meanwhile(
    cluster: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    app = flyte.with_servecontext(parameter_values={"fragile-part": {"gate": str(gate)}}).serve(
        samples.fragile
    )
    pid = httpx.get(f"{app.endpoint}/twice/1", timeout=60).json()

    gate.touch()
    os.kill(pid, signal.SIGKILL)
    told = eventually(lambda: App.get("fragile-part").info.error)
    assert "The gate is shut." in told.message
    gate.unlink()

    assert httpx.get(f"{app.endpoint}/twice/1", timeout=90).json() != pid
    eventually(lambda: App.get("fragile-part").info.error is None)
    App.delete("fragile-part")


def test_a_part_that_takes_too_long_is_named(cluster: Any) -> None:
    with pytest.raises(DeploymentError, match="its deployment 'Slow' is not up"):
        flyte.with_servecontext(activate_timeout=8).serve(samples.too_slow)

    App.delete("too-slow-part")
    eventually(lambda: parts("too-slow-part") == {})


def test_deactivated_and_deleted_nothing_of_it_is_left(cluster: Any) -> None:
    app = flyte.serve(samples.leaving)
    assert set(*parts("leaving").values()) == {"flyteray-replica", "Twice"}

    app.deactivate(wait=True)
    eventually(lambda: parts("leaving") == {})
    app.activate(wait=True)
    assert httpx.get(f"{app.endpoint}/twice/1", timeout=60).json() == 5
    App.delete("leaving")

    eventually(lambda: parts("leaving") == {})


def test_versions_beside_one_another_have_deployments_of_their_own(cluster: Any) -> None:
    app = flyte.with_servecontext(version="v1").serve(samples.shared_one)
    flyte.with_servecontext(version="v2", traffic=0).serve(samples.shared_two)

    def answer(version: str) -> int:
        headers = {"X-Flyteray-Version": version}
        return int(httpx.get(f"{app.endpoint}/twice/1", headers=headers, timeout=60).json())

    assert (answer("v1"), answer("v2")) == (2, 3)
    app.promote("v2")
    assert httpx.get(f"{app.endpoint}/twice/1", timeout=60).json() == 3
    App.delete("shared-serve")


def test_killed_controllers_come_back_and_find_all_of_its_processes(
    cluster: LocalCluster, composed: App
) -> None:
    def pids() -> set[int]:
        told = [httpx.get(f"{composed.endpoint}/tell", timeout=60).json() for _ in range(20)]
        return {each["part"]["pid"] for each in told} | {each["here"]["pid"] for each in told}

    flyte.serve(samples.second)
    before = eventually(lambda: len(found := pids()) == 3 and found)

    process(cluster, "ray::Controller").kill()
    process(cluster, "ray::ServeController").kill()

    assert httpx.get(f"{composed.endpoint}/twice/1", timeout=60).json() == 3
    flyte.serve(samples.second)
    eventually(lambda: list(parts("composition").values()) == [{"flyteray-replica", "Twice", "Models"}])
    eventually(lambda: pids() == before)


def test_a_plain_deployment_answers_as_under_serve(plain: App) -> None:
    with httpx.Client(base_url=plain.endpoint, timeout=60) as client:
        assert client.post("/told", content=b"body").json() == {
            "told": {"level": 3},
            "method": "POST",
            "body": "body",
        }
        assert client.get("/teapot").status_code == 418
        failed = client.get("/nothing")
        assert (failed.status_code, failed.text) == (500, "Internal Server Error")


def test_requests_are_answered_in_batches(plain: App) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(httpx.get, f"{plain.endpoint}/batch", params={"word": word}, timeout=60)
            for word in "abcd"
        ]

        assert [each.result().json() for each in asked] == [["a", "b", "c", "d"]] * 4


def test_no_more_requests_run_and_wait_than_the_deployment_says(plain: App) -> None:
    with ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(httpx.get, f"{plain.endpoint}/slow", params={"s": 3}, timeout=60) for _ in range(12)
        ]
        answers = [each.result() for each in asked]

    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [503] * 3
    assert "All places of the deployment Plain" in next(
        answer.json()["error"] for answer in answers if answer.status_code == 503
    )


def test_a_replica_that_is_ill_by_its_own_word_is_replaced(plain: App) -> None:
    ill = httpx.get(f"{plain.endpoint}/ill", timeout=60).text

    eventually(lambda: httpx.get(f"{plain.endpoint}/pid", timeout=60).text != ill, timeout=60)


def test_a_function_is_an_ingress_deployment_which_may_sleep(cluster: Any) -> None:
    app = flyte.serve(samples.function)
    assert httpx.get(app.endpoint, params={"name": "you"}, timeout=60).text == "hello you"

    eventually(lambda: App.get("serve-function").info.ready_replicas == 0, timeout=60)

    assert httpx.get(app.endpoint, params={"name": "again"}, timeout=60).text == "hello again"
    App.delete("serve-function")


def test_a_language_model_of_ray_serve_llm_is_served_as_an_openai_api(cluster: Any) -> None:
    from tests.integration import sample_llm  # not at once: it takes seconds, and needs stand-ins

    app = flyte.serve(sample_llm.language)
    asked = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}
    with httpx.Client(base_url=app.endpoint, timeout=60) as client:
        models = client.get("/v1/models").json()["data"]
        answer = client.post("/v1/chat/completions", json=asked).json()
        with client.stream("POST", "/v1/chat/completions", json={**asked, "stream": True}) as stream:
            events = [line.removeprefix("data: ") for line in stream.iter_lines() if line]
        unknown = client.post("/v1/chat/completions", json={**asked, "model": "none"})

    assert [each["id"] for each in models] == ["echo", "other"]
    assert answer["choices"][0]["message"]["content"] == "hello there"
    assert [json.loads(event)["choices"][0]["delta"]["content"] for event in events[:-1]] == [
        "hello",
        "there",
    ]
    assert events[-1] == "[DONE]"
    assert unknown.status_code == 404
    App.delete("language")


def test_in_local_mode_all_of_it_runs_in_one_process() -> None:
    app = flyte.with_servecontext(mode="local").serve(samples.local)

    with httpx.Client(base_url=app.endpoint, timeout=60) as client:
        assert client.get("/twice/21").json() == 42
        told = client.get("/tell").json()
        assert told["part"]["pid"] == told["here"]["pid"]
    app.deactivate()
