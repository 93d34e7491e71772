"""A user's session at the command line, from `up` to `down`: on a cluster that asks for keys and has a certificate."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flyteray._cluster import processes
from flyteray._settings import Settings
from tests.acceptance.command import COMMAND, Shell
from tests.certificates import Issuer
from tests.open_files import open_to_others, own_parts
from tests.processes import listening
from tests.waiting import eventually

APP = """
import asyncio

import flyteray as flyte
import httpx
from fastapi import FastAPI, Request
from flyteray.app.extras import FastAPIAppEnvironment

tasks = flyte.TaskEnvironment(name="tasks")
api = FastAPI()
web = FastAPIAppEnvironment(name="sums", app=api)
broken = FastAPIAppEnvironment(name="broken", app=FastAPI())
callers = flyte.TaskEnvironment(name="callers", depends_on=[web])


@tasks.task
async def add(x: int, y: int = 2) -> int:
    return x + y


@tasks.task
async def invert(x: int) -> float:
    return 1 / x


@tasks.task
async def told(x: int) -> int:
    print("told above")
    return await told_below(x) + 1


@tasks.task
async def told_below(x: int) -> int:
    print(f"told {x} below")
    return x


@tasks.task(report=True)
async def shown(fail: bool = False) -> None:
    flyte.report.log("<p>seen</p>")
    assert not fail, "as it was told"


@tasks.task
async def wait_long() -> None:
    print("waiting")
    await asyncio.sleep(600)


@api.get("/")
async def total(x: int, request: Request) -> list[int | str]:
    print("asked for", x, flush=True)
    return [await add(x), request.url.scheme]


@callers.task
def call(key: str) -> list[int | str]:
    keyed = {"Authorization": "Bearer " + key}
    return [web.endpoint, *httpx.get(web.endpoint, params={"x": 40}, headers=keyed).raise_for_status().json()]


@broken.on_startup
async def fail() -> None:
    raise LookupError("no model")
"""
DEPLOYABLE = """
import flyteray as flyte
from fastapi import FastAPI
from flyteray.app import Link
from flyteray.app.extras import FastAPIAppEnvironment

tasks = flyte.TaskEnvironment(name="later")
web = FastAPIAppEnvironment(name="halves", app=FastAPI(), links=[Link("/x", "Docs", is_relative=True)])


@tasks.task
async def halve(x: int) -> float:
    return x / 2
"""
JOB = """
import flyteray as flyte
import sums

env = flyte.TaskEnvironment(name="job")


@env.task
def answer() -> int:
    return 42


if __name__ == "__main__":
    own = flyte.with_runcontext(name="from-a-job").run(answer).outputs()[0]
    print(f"answered {own}, sum {flyte.run(sums.add, 40).outputs()[0]}")
"""
TYPED = """
from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import flyteray as flyte
from flyteray.io import File

if TYPE_CHECKING:
    from fractions import Fraction

env = flyte.TaskEnvironment(name="typed")


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Config:
    rate: float
    colour: Colour
    price: Decimal = Decimal(0)


@env.task
def described(
    config: Config, when: datetime, data: File, self: str, name: int = 1, wait: bool = True, fast: bool = False
) -> list[str]:
    with data.open_sync() as file:
        content = file.read().decode()
    return [repr(each) for each in (config, when.year, content, self, name, wait, fast)]


@env.task
def circle(part: Fraction | None = None) -> list[Any]:
    found: list[Any] = [float("nan")]
    found.append(found)
    return found
"""
# What leaves files behind.
LEAVES = """
import json, httpx, flyteray
from flyteray.io import File
from tests.integration import sample_private as samples

File.from_local_sync(samples.__file__)
*_, by_task = flyteray.run(samples.written).outputs()
flyteray.deploy(samples.env)
flyteray.serve(samples.web)
flyteray.remote.Secret.create("TOKEN", "t")
print(json.dumps([by_task, httpx.get(samples.web.endpoint, timeout=60).json()]))
"""
PLAIN_RAY = "import ray; ray.init(log_to_driver=False); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> tuple[Path, Path]:
    """The files of a certificate and of its key."""
    hosts = "apps.example.org", "localhost", "sums.localhost"
    return issuer.issue(*hosts).put(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def by_tls(certificate: tuple[Path, Path]) -> tuple[str, ...]:
    return "--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, by_tls: tuple[str, ...]) -> Iterator[Shell]:
    """A terminal on a cluster of its own, in a home that was open to all, which `down` ends without a trace."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "sums.py").write_text(APP)
    (folder / "deployable.py").write_text(DEPLOYABLE)
    shell = Shell(folder, tmp_path_factory.mktemp("home"))
    shell.home.chmod(0o777)
    started = shell.run([*COMMAND, "up", "--num-cpus", "2", "--auth", *by_tls], umask=0)
    try:
        assert started.returncode == 0, started.stderr
        assert "Starting a local Ray cluster: done in" in started.stderr
        mark = json.loads((shell.home / "cluster.json").read_text())["id"]
        yield shell
    finally:
        ended = shell.flyteray("down")
    assert (ended.returncode, ended.stderr.strip()) == (0, "The local cluster has ended.")
    assert processes.members(mark) == []
    assert sorted(path.name for path in shell.home.iterdir()) == [
        "cluster.lock",
        "ingress",
        "logs",
        "secrets.key",  # of what browsers sign in by, as there was a key
        "storage",
        "token",
    ]


@pytest.fixture(scope="module")
def status(shell: Shell) -> dict[str, Any]:
    told = eventually(lambda: "until" in (told := shell.json("status"))["tls"] and told)
    assert isinstance(told, dict)
    return told


def test_status_says_what_runs_where(shell: Shell, status: dict[str, Any]) -> None:
    assert status["running"] is True
    assert status["apps"].startswith("https://apps.example.org:")
    assert status["apps"].endswith("/<app>")
    assert status["tls"].startswith("port ")
    assert "for apps.example.org, localhost, sums.localhost, until 20" in status["tls"]
    assert (status["listens"].split()[0], status["auth"]) == ("127.0.0.1", "on")
    assert status["dashboard"].startswith("http://127.0.0.1:")
    assert status["storage"] == str(shell.home / "storage")


def test_up_finds_the_cluster_that_runs_and_says_what_it_cannot_change(
    shell: Shell, by_tls: tuple[str, ...], status: dict[str, Any]
) -> None:
    more = "--num-cpus", "1", "--host", "127.0.0.2", "--no-auth"
    again = shell.flyteray("up", *more, *by_tls, "-o", "json")

    given = "--num-cpus and --host and --no-auth and --tls-certificate and --tls-key"
    assert f"runs already, so {given} change nothing" in again.stderr
    assert json.loads(again.stdout)["address"] == status["address"]


@pytest.fixture(scope="module")
def first(shell: Shell) -> Any:
    """What is told of the first run."""
    return shell.json("run", "--name", "first", "sums.py", "add", "--x", "3")


def test_a_run_is_waited_for_and_its_outputs_are_the_result(shell: Shell, first: Any) -> None:
    assert first == {"run": "first", "task": "tasks.add", "phase": "succeeded", "outputs": [5]}
    assert shell.json("get", "run", "first")["actions"][0]["action"] == "a0"
    assert "first" in [run["name"] for run in shell.json("get", "run", "--in-phase", "succeeded")]
    assert "tasks.add" in shell.flyteray("get", "run").stdout


def test_a_run_that_fails_shows_the_users_frames_and_exits_with_1(shell: Shell) -> None:
    done = shell.flyteray("run", "sums.py", "invert", "--x", "0", "-o", "json")

    assert done.returncode == 1
    assert json.loads(done.stdout)["phase"] == "failed"
    assert "return 1 / x" in done.stderr
    assert done.stderr.splitlines()[-1] == "Error: ZeroDivisionError: division by zero"
    assert "uvloop" not in done.stderr


def test_a_run_need_not_be_waited_for_and_can_be_aborted(shell: Shell) -> None:
    started = shell.json("run", "--no-wait", "--name", "long", "sums.py", "wait_long")
    eventually(lambda: shell.flyteray("get", "logs", "run", "long").stdout == "waiting\n", every=1.0)

    assert shell.json("get", "run", "long")["phase"] == "running"
    assert started["run"] == "long"
    assert shell.json("abort", "run", "long", "--reason", "enough") == {"run": "long", "phase": "aborted"}
    assert "enough" in shell.json("get", "run", "long")["error"]


def test_a_run_shows_what_its_tasks_write_and_is_found_again_with_all_that_is_recorded(
    shell: Shell, tmp_path: Path
) -> None:
    name, label = ("--name", "told"), ("--label", "team=tellers")
    done = shell.flyteray("run", "--logs", *name, *label, "--json", "sums.py", "told", "--x", "3")
    quiet = shell.flyteray("run", "--json", "sums.py", "told", "--x", "3")

    assert json.loads(done.stdout) == {
        "run": "told",
        "task": "tasks.told",
        "phase": "succeeded",
        "outputs": [4],
    }
    shown = [line for line in done.stderr.splitlines() if line.startswith("(")]
    assert "(told a0) told above" in shown
    assert any(re.fullmatch(r"\(told_below \w{6}\) told 3 below", line) for line in shown)
    assert "told above" not in quiet.stderr + quiet.stdout

    listed = shell.json("get", "run", "--with-label", "team=tellers", "--created-after", "now - 1 day")
    assert [(run["name"], run["labels"]) for run in listed] == [("told", {"team": "tellers"})]
    assert shell.json("get", "run", "--with-label", "team=others", "--in-phase", "succeeded") == []
    actions = eventually(
        lambda: len(found := shell.json("get", "action", "told", "--in-phase", "succeeded")) == 2 and found
    )
    below = next(each["action"] for each in actions if each["task"] == "tasks.told_below")
    details = shell.json("get", "action", "told", below)
    assert [each["phase"] for each in details["phases"]] == ["queued", "running", "succeeded"]
    assert shell.json("get", "io", "told", below) == {"inputs": {"x": 3}, "outputs": {"o0": 3}}
    assert shell.json("get", "io", "told", "--inputs-only") == {"inputs": {"x": 3}}
    assert "inputs x" in shell.flyteray("get", "io", "told").stdout
    folder = shell.json("get", "code", "told", "--output-dir", str(tmp_path / "code"))["path"]
    assert "told_below" in Path(folder, "sums.py").read_text()

    followed = shell.flyteray("logs", "told", "--follow", "--show-ts")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.+]+ told above\n", followed.stdout)
    assert shell.flyteray("get", "logs", "run", "told", below).stdout == "told 3 below\n"
    assert shell.json("delete", "run", "told") == {"name": "told", "deleted": True}
    assert "no run 'told'" in shell.flyteray("get", "run", "told").stderr
    wrong = shell.flyteray("get", "run", "--with-label", "team")
    assert (wrong.returncode, "'team' is not KEY=VALUE" in wrong.stderr) == (2, True)


def test_the_report_of_a_run_is_printed_written_and_opened(shell: Shell, tmp_path: Path) -> None:
    done = shell.flyteray("run", "--name", "shown", "sums.py", "shown")
    assert "`flyteray get report shown --open` shows its report." in done.stderr

    page = shell.flyteray("get", "report", "shown").stdout
    assert (page[:15], "<p>seen</p>" in page) == ("<!doctype html>", True)
    written = shell.flyteray("get", "report", "shown", "a0", "--attempt", "1", "--output", "page.html").stdout
    assert Path(written.strip()).read_text() == page.removesuffix("\n")

    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\ncp "${{1#file://}}" {tmp_path}/opened\n')
    browser.chmod(0o755)
    opened = shell.flyteray("get", "report", "shown", "--open", BROWSER=f"{browser} %s")
    assert (opened.returncode, opened.stderr) == (0, "")
    assert (
        (tmp_path / "opened").read_text()
        == Path(opened.stdout.strip()).read_text()
        == Path(written.strip()).read_text()
    )
    none = {"BROWSER": "false", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    nowhere = shell.flyteray("get", "report", "shown", "--open", **none)
    assert "No browser could be started here" in nowhere.stderr
    for path in (opened.stdout, nowhere.stdout):
        shutil.rmtree(Path(path.strip()).parent)


@pytest.mark.usefixtures("first")
def test_a_report_that_is_not_there_says_why(shell: Shell) -> None:
    asked = {
        (
            "report",
            "first",
        ): "has no report. A task makes one where it is declared with @env.task(report=True)",
        ("report", "first", "a1"): "has no action 'a1' that has begun.",
        ("report", "first", "a0", "--attempt", "2"): "has no attempt 2: it has had 1.",
        ("logs", "run", "first", "a1"): "has no action 'a1' that has begun.",
        ("report", "nope"): "nope",
    }
    for words, problem in asked.items():
        told = shell.flyteray("get", *words)
        assert (told.returncode, told.stderr.count("\n"), "Traceback" in told.stderr) == (1, 1, False), (
            told.stderr
        )
        assert problem in told.stderr


def test_a_local_run_says_where_its_report_is(shell: Shell) -> None:
    good = shell.flyteray("run", "--local", "sums.py", "shown")
    bad = shell.flyteray("run", "--local", "sums.py", "shown", "--fail")

    path = good.stderr.partition("Its report: ")[2].strip()
    assert "<p>seen</p>" in Path(path).read_text()
    named = re.findall(r"The report of tasks\.shown, which failed, is (.*)", bad.stderr)
    assert ["as it was told" in Path(each).read_text() for each in named] == [True]
    shutil.rmtree(shell.home / "local")


@pytest.mark.usefixtures("first")
def test_a_name_can_be_used_once(shell: Shell) -> None:
    again = shell.flyteray("run", "--name", "first", "sums.py", "add", "--x", "1")

    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith("Error: A run named 'first' exists already")


def test_an_app_is_served_shown_and_deleted(shell: Shell, status: dict[str, Any], issuer: Issuer) -> None:
    port = int(status["tls"].split()[1].rstrip(","))
    served = shell.json("serve", "sums.py", "web")
    assert served["url"] == f"https://sums.localhost:{port}/"

    key = shell.flyteray("create", "key", "ann").stdout.strip()
    keyed = {"Host": f"sums.localhost:{port}", "Authorization": f"Bearer {key}"}
    trusting = ssl.create_default_context(cadata=issuer.certificate.decode())
    with httpx.Client(verify=trusting, headers=keyed, timeout=60) as http:
        from_elsewhere = http.get(f"https://localhost:{port}/?x=40")
        [[endpoint, *by_code]] = shell.json("run", "sums.py", "call", "--key", key)["outputs"]
        shell.json("delete", "key", "ann")
        without = http.get(f"https://localhost:{port}/?x=40")

    assert (from_elsewhere.json(), without.status_code) == ([42, "https"], 401)
    assert endpoint.startswith("http://127.0.0.1:")  # on the machine no certificate is needed
    assert by_code == [42, "http"]
    assert [app["name"] for app in shell.json("get", "app")] == ["sums"]
    assert shell.json("get", "app", "sums")["phase"] == "active"
    assert "asked for 40" in shell.flyteray("get", "logs", "app", "sums", "--raw").stdout.splitlines()
    assert shell.json("delete", "app", "sums") == {"name": "sums", "deleted": True}
    assert shell.json("get", "app") == []
    assert shell.flyteray("get", "app", "sums").returncode == 1


def test_tasks_are_deployed_and_shown_and_an_app_is_stopped_and_started(shell: Shell) -> None:
    deployed = shell.json("deploy", "--all", "--version", "v1", "deployable.py")

    assert [(each["type"], each["name"]) for each in deployed] == [("task", "later.halve"), ("app", "halves")]
    [shown] = shell.json("get", "task")
    assert (shown["name"], shown["version"], shown["inputs"]) == ("later.halve", "v1", {"x": "int"})
    assert shell.json("run", "deployed-task", "later.halve:v1", "--x", "3")["outputs"] == [1.5]
    refused = shell.flyteray("run", "--version", "v1", "deployed-task", "later.halve", "--x", "3")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is that which was deployed" in refused.stderr
    assert shell.json("update", "app", "halves", "--activate", "--wait")["phase"] == "active"
    assert "Docs: https://halves.localhost" in shell.flyteray("get", "app", "halves").stdout
    for wrong, problem in (
        (["--promote", "v9"], "App 'halves' has no version 'v9'. Its versions: v1."),
        (["--traffic", "v9=100"], "App 'halves' has no version 'v9'. Its versions: v1."),
        (["--traffic", "v1=60"], "The shares must add up to 100 percent, and {'v1': 60} are 60."),
    ):
        refused = shell.flyteray("update", "app", "halves", *wrong)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert problem in " ".join(refused.stderr.replace("│", " ").split())
    assert shell.json("update", "app", "halves", "--deactivate")["phase"] == "stopped"
    shell.json("delete", "app", "halves")


def test_inputs_have_their_types_whether_the_task_is_in_a_file_or_deployed(shell: Shell) -> None:
    (shell.folder / "typed.v2.py").write_text(TYPED)
    (shell.folder / "data.json").write_text('{"a": 1}')
    (shell.folder / "config.yaml").write_text("rate: 1\ncolour: RED\nprice: 2\n")
    words = "--config config.yaml --when 2024-05-31 --data data.json --self me --name 7 --no-wait --fast"
    given = words.split()
    expected = [
        "Config(rate=1.0, colour=<Colour.RED: 'red'>, price=Decimal('2'))",
        "2024",
        """'{"a": 1}'""",
        "'me'",
        "7",
        "False",
        "True",
    ]

    assert shell.json("run", "typed.v2.py", "described", *given)["outputs"] == [expected]
    told = shell.flyteray("deploy", "--version", "v1", "typed.v2.py", "env")
    assert told.returncode == 0, told.stderr
    assert "the type of input 'part' is Fraction | None: 'Fraction' can't be found" in told.stderr
    assert shell.json("run", "deployed-task", "typed.described", *given)["outputs"] == [expected]
    wrong = shell.flyteray("run", "deployed-task", "typed.described", *given, "--when", "2024")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Invalid value for '--when': '2024' is no datetime" in " ".join(wrong.stderr.split())
    misfit = shell.flyteray("run", "deployed-task", "typed.described", *given, "--config", '{"rate": "x"}')
    assert misfit.returncode == 1
    assert "config.colour: is missing; config.rate: expected float, got str: 'x'" in misfit.stderr


def test_outputs_are_json_whatever_they_are(shell: Shell) -> None:
    assert shell.json("run", "typed.v2.py", "circle")["outputs"] == [["NaN", "<list that holds itself>"]]


def test_an_app_that_cannot_start_shows_the_users_error(shell: Shell) -> None:
    failed = shell.flyteray("serve", "sums.py", "broken")

    assert failed.returncode == 1
    assert 'raise LookupError("no model")' in failed.stderr
    assert "Error: App 'broken' could not start" in failed.stderr


def test_env_gives_a_shell_what_plain_ray_needs(shell: Shell) -> None:
    program = Path(shell.folder, "plain.py")
    program.write_text(PLAIN_RAY)
    bin_folder = Path(sys.executable).parent
    connected = f"""
        PATH={shlex.quote(str(bin_folder))}:$PATH
        export RAY_AUTH_TOKEN=of-another-cluster
        eval "$(flyteray env)"
    """
    script = f"""
        {connected}
        python plain.py && ray list nodes --limit 1
        eval "$(flyteray env --unset)"
        env | grep ^RAY_ADDRESS= || echo forgotten
    """

    done = shell.run(["bash", "-euc", script])

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "42"
    assert "ALIVE" in done.stdout
    assert done.stdout.splitlines()[-1] == "forgotten"
    variables = json.loads(shell.flyteray("env", "--json").stdout)
    ray = str(bin_folder / "ray")
    # What has just run may hold one for a moment.
    eventually(lambda: "0.0/2.0 CPU" in shell.run([ray, "status"], **variables).stdout, every=1.0)
    up = shell.flyteray("up", "--no-auth", "--host", "127.0.0.1", "--port", "1", **variables)
    assert "flyteray runs already on that cluster, so --port and --no-auth change nothing." in up.stderr


def test_a_job_uses_the_cluster_it_runs_on(shell: Shell) -> None:
    variables = json.loads(shell.flyteray("env", "--json").stdout)
    (shell.folder / "job.py").write_text(JOB)
    ray = str(Path(sys.executable).with_name("ray"))

    done = shell.run([ray, "job", "submit", "--working-dir", ".", "--", "python", "job.py"], **variables)

    assert "answered 42, sum 42" in done.stdout, done.stdout + done.stderr
    assert shell.json("get", "run", "from-a-job")["phase"] == "succeeded"


def test_another_certificate_is_taken_from_the_files(
    shell: Shell, certificate: tuple[Path, Path], issuer: Issuer
) -> None:
    issuer.issue("other.example.org", "localhost").put(certificate[0].parent)

    eventually(lambda: "for other.example.org, localhost" in shell.json("status")["tls"], every=1.0)


def test_nothing_in_a_home_that_was_open_to_all_depends_on_the_umask(shell: Shell) -> None:
    done = Shell(Path(__file__).parents[2], shell.home).run([sys.executable, "-c", LEAVES], umask=0)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["666", "666"]  # user code has the user's umask
    temp_dir = Settings.of({"FLYTERAY_HOME": str(shell.home)}).temp_dir
    assert open_to_others(shell.home, *own_parts(temp_dir)) == []
    assert stat.S_IMODE(temp_dir.stat().st_mode) == 0o700


def test_everything_listens_on_this_machine_only(shell: Shell) -> None:
    mark = json.loads((shell.home / "cluster.json").read_text())["id"]
    addresses = {ip for ip, _ in listening(processes.members(mark))}

    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
