"""What the command does before any cluster runs: help, usage, local runs, and no surprise starts."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.command import COMMAND, Shell
from tests.certificates import Issuer

TRAIN = '''
import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

import flyteray as flyte

env = flyte.TaskEnvironment(name="train")


class Colour(enum.Enum):
    red = 1
    blue = 2


@dataclass
class Config:
    rate: float


class Model(BaseModel):
    depth: int = 3


@env.task
async def add(x: int, y: int = 2) -> int:
    """Add two numbers."""
    return x + y


@env.task
async def echo(value: Any) -> Any:
    return value


@env.task
async def kinds(
    whole: int, part: float, text: str, flag: bool, many: list[int], table: dict[str, float], config: Config,
    model: Model, colour: Colour, side: Literal["left", "right"], when: datetime, maybe: int | None = None,
    on_top: bool = True, X: str = "x", name: str = "none",
) -> str:
    return repr((whole, part, text, flag, many, table, config, model, colour, side, when, maybe, on_top, X, name))


@env.task
async def invert(x: int) -> float:
    return 1 / x


@env.task
async def pair(x: int) -> tuple[int, str]:
    return x, "two"
'''


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "broken.py").write_text("import flyteray\n\nraise LookupError('no data')\n")
    return Shell(tmp_path, tmp_path / "home")


def cpu_seconds(shell: Shell, command: list[str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = shell.run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def test_help_lists_the_verbs_and_ends_with_examples_in_little_time(shell: Shell) -> None:
    of_another, _ = cpu_seconds(shell, [sys.executable, "-c", "import fastapi"])
    of_ours, done = cpu_seconds(shell, [*COMMAND, "--help"])

    for verb in ("up", "down", "status", "run", "serve", "deploy", "get", "update", "abort", "delete"):
        assert f"│ {verb} " in done.stdout
    assert [line.strip() for line in done.stdout.splitlines() if line.strip()][-1] == "flyteray down"
    assert of_ours < of_another  # about half of it, 0.25 on a quiet machine


def test_help_imports_no_ray(shell: Shell) -> None:
    code = """
import sys
from flyteray.cli import main
try:
    main(["--help"])
except SystemExit:
    print("ray" in sys.modules)
"""

    assert shell.run([sys.executable, "-c", code]).stdout.splitlines()[-1] == "False"


def test_version(shell: Shell) -> None:
    assert shell.flyteray("--version").stdout.startswith("flyteray 0.")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["dance"], "No such command 'dance'"),
        (["abort", "r0123456789ab"], "No such command 'r0123456789ab'. There are: action, run."),
        (["up", "--loud"], "No such option '--loud'"),
        (["run", "train.py"], "Usage: flyteray run train.py"),
        (["run", "--loud", "train.py", "add"], "No such option '--loud'"),
        (["run", "--name", "a b", "train.py", "add", "--x", "1"], "'a b' can't be a run's name"),
        (["run", "train.py", "add"], "Missing option '--x'"),
        (["run", "train.py", "add", "--z", "1"], "No such option '--z'"),
        (["run", "train.py", "add", "--x", "one"], "'--x': 'one' is no int: write a whole number"),
        (
            ["run", "train.py", "kinds", "--many", '["a"]'],
            "is no list[int]: [0]: expected int, got str: 'a'",
        ),
        (["run", "train.py", "kinds", "--config", "{"], "is no Config"),
        (
            ["run", "train.py", "kinds", "--colour", "green"],
            "'green' is no Colour: str: 'green' is no Colour. Its members: red, blue",
        ),
        (["deploy", "--all", "train.py", "env"], "Name an environment or say --all, not both."),
        (["deploy", "-r", "."], "say --all as well"),
        (
            ["update", "app", "hello"],
            "Say one of --activate, --deactivate, --traffic, --promote, --rollback, --shadow and --end-shadow.",
        ),
        (
            ["update", "app", "hello", "--shadow", "v2=all"],
            "--shadow v2=all: the share is a number of percent",
        ),
        (
            ["update", "app", "hello", "--shadow", "v2=0"],
            "--shadow v2=0: Shadow share must be 0.01 to 100 percent",
        ),
        (
            ["update", "app", "hello", "--shadow", "v2=5", "--shadow", "v3=5"],
            "An app has one shadow at a time: say one --shadow, not v2=5 and v3=5.",
        ),
        (
            ["update", "app", "hello", "--rollback", "--shadow-safe-only"],
            "--shadow-safe-only is said together with --shadow.",
        ),
        (["deploy", "app.py", "env", "--shadow", "nan"], "Shadow share must be 0.01 to 100 percent, got nan"),
        (["serve", "app.py", "env", "--shadow", "5", "--canary", "5"], "Say one of --traffic, --canary and"),
        (["update", "app", "hello", "--traffic", "v1=all"], "--traffic v1=all: the share is a whole number"),
        (
            ["update", "app", "hello", "--promote", "v1", "--sticky", "cookie"],
            "--sticky is said together with",
        ),
        (["serve", "app.py", "env", "--traffic", "101"], "101 is not in the range 0<=x<=100"),
        (["serve", "app.py", "env", "--canary", "50,5"], "Canary steps must rise"),
        (["serve", "app.py", "env", "--canary", "a few"], "--canary a few: invalid literal"),
        (
            ["deploy", "app.py", "env", "--canary", "5", "--traffic", "5"],
            "Say --traffic or --canary, not both",
        ),
        (["deploy", "app.py", "env", "--canary-every", "5"], "--canary-every is said together with --canary"),
        (["up", "--tls-key", "train.py"], "--tls-key is said together with --tls-certificate."),
        (["get", "app", "--versions"], "Name the app whose versions are asked for."),
        (["env", "--json", "--unset"], "Say --json or --unset, not both."),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(arguments: list[str], problem: str, shell: Shell) -> None:
    done = shell.flyteray(*arguments)

    assert done.returncode == 2
    assert problem in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["run", "missing.py", "add"], "Error: There is no file 'missing.py'"),
        (["run", "train.py", "subtract"], "it has: add, echo, invert, kinds, pair"),
        (["serve", "train.py", "env"], "is a TaskEnvironment, not a"),
        (["get", "run"], "No local cluster runs"),
        (["get", "app", "hello"], "No local cluster runs"),
        (["abort", "run", "r1"], "No local cluster runs"),
        (["delete", "app", "hello"], "No local cluster runs"),
        (["get", "task"], "No local cluster runs"),
        (["run", "deployed-task", "env.train"], "No local cluster runs"),
        (["update", "app", "hello", "--activate"], "No local cluster runs"),
        (["deploy", "train.py", "nothing"], "'nothing' in 'train' does not exist; it has: env."),
        (["deploy", "--all", "-r", "train.py"], "'train.py' is no folder: --recursive needs one."),
        (["status"], "No local cluster runs"),
        (["env"], "No local cluster runs"),
        (["env", "--json"], "No local cluster runs"),
    ],
)
def test_a_failure_is_one_line_with_exit_code_1(arguments: list[str], problem: str, shell: Shell) -> None:
    done = shell.flyteray(*arguments)

    assert done.returncode == 1
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_an_error_in_the_users_file_shows_the_users_lines_only(shell: Shell) -> None:
    done = shell.flyteray("run", "broken.py", "add")

    assert done.returncode == 1
    assert "raise LookupError('no data')" in done.stderr
    assert "Error: 'broken.py' could not be imported: LookupError: no data" in done.stderr
    assert "importlib" not in done.stderr
    assert "/flyteray/" not in done.stderr


WHOSE = """
import flyteray as flyte

env = flyte.TaskEnvironment(name="env")
app = flyte.app.AppEnvironment(name="app", args="sleep 1", image=flyte.Image.from_ref_name("base"))

@env.task
def whose() -> str:
    return flyte.current_project()
"""


def test_configuration_files_of_flyte_are_found_or_named(shell: Shell) -> None:
    (shell.folder / "whose.py").write_text(WHOSE)
    (shell.folder / ".flyte").mkdir()
    (shell.folder / ".flyte" / "config.yaml").write_text("task: {project: found}")
    (shell.folder / "named.yaml").write_text(
        "task: {project: named}\nimage: {image_refs: {base: registry/base:1}}"
    )
    run = ("run", "--local", "-o", "json", "whose.py", "whose")

    assert json.loads(shell.flyteray(*run).stdout)["outputs"] == ["found"]
    assert json.loads(shell.flyteray("-c", "named.yaml", *run).stdout)["outputs"] == ["named"]
    assert json.loads(shell.flyteray(*run, FLYTE_TASK_PROJECT="said").stdout)["outputs"] == ["said"]
    deploy = ("deploy", "--dry-run", "whose.py", "app")
    assert "No image is called 'base'" in shell.flyteray(*deploy).stderr
    assert shell.flyteray("--config", "named.yaml", *deploy).returncode == 0
    gone = shell.flyteray("-c", "gone.yaml", *run)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith("Error: There is no configuration file 'gone.yaml'")


UNGUARDED = """
import asyncio
import flyteray as flyte

env = flyte.TaskEnvironment(name="env")
app = flyte.app.AppEnvironment(name="app", args="sleep 1")

@env.task
def add(x: int) -> int:
    return x

async def go():
    await flyte.run.aio(add, x=1)

if True:
    asyncio.run(go())
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "unguarded.py", "add", "--x", "1"),
        ("run", "--local", "unguarded.py", "add", "--x", "1"),
        ("serve", "unguarded.py", "app"),
        ("deploy", "--all", "unguarded.py"),
        ("deploy", "--dry-run", "unguarded.py", "env"),
        ("build", "unguarded.py"),
    ],
    ids=" ".join,
)
def test_a_file_that_starts_something_when_it_is_loaded_is_refused_with_the_line(
    arguments: tuple[str, ...], shell: Shell
) -> None:
    (shell.folder / "unguarded.py").write_text(UNGUARDED)

    done = shell.flyteray(*arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: unguarded.py, line 16, calls flyteray.run when its file is loaded, as each worker and replica does. "
        "Nothing was started. Put what starts something below a main guard:\n\n"
        '    if __name__ == "__main__":\n        asyncio.run(go())\n'
    )
    assert not (shell.home / "cluster.json").exists()


def test_a_local_run_needs_no_cluster_and_prints_its_outputs(shell: Shell) -> None:
    done = shell.flyteray("run", "--local", "train.py", "pair", "--x", "1")

    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["task", "train.pair"],
        ["phase", "succeeded"],
        ["o0", "1"],
        ["o1", "'two'"],
    ]
    assert not (shell.home / "cluster.json").exists()


def test_a_local_run_as_json_is_json_alone(shell: Shell) -> None:
    result = shell.json("run", "--local", "train.py", "add", "--x", "3")

    assert (result["task"], result["phase"], result["outputs"]) == ("train.add", "succeeded", [5])


def test_a_deployment_is_planned_without_a_cluster(shell: Shell) -> None:
    for ignored in ("scratch", ".venv"):
        (shell.folder / ignored).mkdir()
        (shell.folder / ignored / "old.py").write_text(TRAIN.replace("train", "old"))
    (shell.folder / ".gitignore").write_text("scratch/\n")
    planned = shell.json("deploy", "--dry-run", "--version", "v1", "train.py")
    everything = shell.flyteray("deploy", "--dry-run", "--all", "-r", "-i", ".", "-o", "json")

    assert {each["version"] for each in planned} == {"v1"}
    assert "train.pair" in {each["name"] for each in planned}
    assert {each["name"] for each in planned} == {each["name"] for each in json.loads(everything.stdout)}
    assert everything.stderr.startswith("broken.py is left out: ")


def test_every_kind_of_input_has_its_option(shell: Shell) -> None:
    (shell.folder / "table.json").write_text('{"a": 1.5}')
    given = (
        "--whole 1 --part 2.5 --text hi --no-flag --many [1,2] --table table.json --colour blue --side left"
    )
    more = "--when 2026-01-02 --maybe 7 --no-on-top --X Y --name me --local -o json"

    done = shell.flyteray(
        "run", "train.py", "kinds", *given.split(), "--config", '{"rate": 1}', "--model", "{}", *more.split()
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == [
        "(1, 2.5, 'hi', False, [1, 2], {'a': 1.5}, Config(rate=1.0), Model(depth=3), <Colour.blue: 2>, 'left', "
        "datetime.datetime(2026, 1, 2, 0, 0), 7, False, 'Y', 'me')"
    ]


@pytest.mark.parametrize(
    "name", ["json.py", "train.v2.py", "my script.py", "class.py", "__main__.py", "ray.py"]
)
def test_a_file_runs_whatever_its_name(name: str, shell: Shell) -> None:
    (shell.folder / "beside.py").write_text("TWO = 2\n")
    (shell.folder / name).write_text("from beside import TWO\n" + TRAIN)

    assert shell.json("run", "--local", name, "add", "--x", "1")["outputs"] == [3]


def test_a_folder_in_the_place_of_a_file_is_told(shell: Shell) -> None:
    done = shell.flyteray("run", ".", "add")

    assert done.returncode == 1
    assert "Error: '.' is a folder: give a Python file in it, such as broken.py." in done.stderr


EDGES = """
from dataclasses import dataclass
from typing import Any, Optional

import flyteray as flyte

env = flyte.TaskEnvironment(name="edges")


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


@dataclass
class Share:
    part: float

    def __post_init__(self) -> None:
        if self.part > 1:
            raise ValueError("part is above 1")


@env.task
def named(self: int, cls: int, task: int, args: int, kwargs: int, mode: str, help: str, output: str, local: str,
          wait: str, name: str, version: str, file: str, CamelCase: int, _under: int, no_wait: bool) -> list[Any]:
    return [self, cls, task, args, kwargs, mode, help, output, local, wait, name, version, file, CamelCase, _under,
            no_wait]


@env.task
def flags(on: bool, none: Optional[int], off: bool = True, maybe: Optional[bool] = None) -> list[Any]:
    return [on, off, maybe, none]


@env.task
def share(part: Share = Share(0.5)) -> float:
    return part.part


@env.task
def odd() -> list[Any]:
    return [Unshowable(), float("inf"), b"x", {(1, 2): {3}}]


@env.task
def unshowable() -> Any:
    return Unshowable()
"""


def test_inputs_may_have_any_name(shell: Shell) -> None:
    (shell.folder / "edges.py").write_text(EDGES)
    texts = "mode help output local wait name version file"
    numbers = "--self 1 --cls 2 --task 3 --args 4 --kwargs 5 --CamelCase 6 --_under 7 --no-wait"
    given = [*numbers.split(), *(part for name in texts.split() for part in (f"--{name}", name))]

    done = shell.flyteray("run", "--local", "-o", "json", "edges.py", "named", *given)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == [[1, 2, 3, 4, 5, *texts.split(), 6, 7, True]]


@pytest.mark.parametrize(
    ("given", "outputs"),
    [
        ("", [False, True, None, None]),
        ("--on --no-off --maybe", [True, False, True, None]),
        ("--on true --off=false --no-maybe --none 3", [True, False, False, 3]),
        ("--no-on --off on --maybe 0 --none null", [False, True, False, None]),
    ],
)
def test_a_bool_is_switched_on_and_off_or_given_as_a_word(
    given: str, outputs: list[object], shell: Shell
) -> None:
    (shell.folder / "edges.py").write_text(EDGES)

    assert shell.json("run", "--local", "edges.py", "flags", *given.split())["outputs"] == [outputs]


def test_a_class_that_refuses_its_values_is_a_usage_error(shell: Shell) -> None:
    (shell.folder / "edges.py").write_text(EDGES)

    done = shell.flyteray("run", "--local", "edges.py", "share", "--part", '{"part": 5}')

    assert done.returncode == 2
    assert "Invalid value for '--part'" in done.stderr
    assert "is no Share: Share refuses it: ValueError: part is above 1" in " ".join(done.stderr.split())


def test_outputs_that_can_not_show_themselves_are_printed_all_the_same(shell: Shell) -> None:
    (shell.folder / "edges.py").write_text(EDGES)

    assert shell.json("run", "--local", "edges.py", "odd")["outputs"] == [
        ["<Unshowable whose repr raises RuntimeError>", "Infinity", "eA==", {"(1, 2)": [3]}]
    ]
    table = shell.flyteray("run", "--local", "edges.py", "unshowable")
    assert table.returncode == 0, table.stderr
    assert "<Unshowable whose repr raises RuntimeError>" in table.stdout


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("[1]", [1]), ("plain words", "plain words"), ("null", None)]
)
def test_an_input_of_any_type_is_json_or_text(text: str, value: object, shell: Shell) -> None:
    assert shell.json("run", "--local", "train.py", "echo", "--value", text)["outputs"] == [value]


def test_the_help_of_a_task_shows_its_docs_and_inputs(shell: Shell) -> None:
    shown = " ".join(shell.flyteray("run", "train.py", "add", "--help").stdout.split())

    assert "Usage: flyteray run train.py add [OPTIONS]" in shown
    assert "Add two numbers." in shown
    assert "--x INTEGER int [required]" in shown
    assert "--y INTEGER int (default: 2)" in shown


def test_a_task_that_fails_locally_shows_the_users_frames(shell: Shell) -> None:
    done = shell.flyteray("run", "--local", "train.py", "invert", "--x", "0")

    assert done.returncode == 1
    assert "return 1 / x" in done.stderr
    assert done.stderr.splitlines()[-1] == "Error: ZeroDivisionError: division by zero"
    assert "/flyteray/" not in done.stderr


def test_a_cluster_that_does_not_answer_is_named(shell: Shell) -> None:
    done = shell.flyteray("status", RAY_ADDRESS="127.0.0.1:1")

    assert done.returncode == 1
    assert "Error: No Ray cluster answers at" in done.stderr
    assert "127.0.0.1:1" in done.stderr


def test_the_nodes_of_another_cluster_say_themselves_what_they_offer(shell: Shell) -> None:
    done = shell.flyteray("up", "--num-cpus", "2", RAY_ADDRESS="127.0.0.1:1")

    assert done.returncode == 2
    assert "--num-cpus is for the local cluster, and RAY_ADDRESS names" in done.stderr


def test_a_setting_that_is_no_number_is_named(shell: Shell) -> None:
    done = shell.flyteray("up", FLYTERAY_NUM_CPUS="many")

    assert done.returncode == 1
    assert "FLYTERAY_NUM_CPUS is 'many'" in done.stderr


def test_down_has_nothing_to_do(shell: Shell) -> None:
    assert shell.json("down") == {"stopped": False}


def test_the_console_script_is_the_same(shell: Shell) -> None:
    script = Path(sys.executable).with_name("flyteray")

    assert shell.run([str(script), "--help"]).stdout == shell.run([*COMMAND, "--help"]).stdout


def test_a_port_that_is_taken_is_named_and_the_cluster_does_not_stay_half_made(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        refused = shell.flyteray("up", "--port", str(port), FLYTERAY_NUM_CPUS="1")

    assert refused.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken" in refused.stderr
    assert shell.flyteray("status").stderr.startswith("No local cluster runs")


def test_a_certificate_that_is_wrong_is_told_before_anything_is_started(shell: Shell) -> None:
    issuer = Issuer()
    certificate, _ = issuer.issue().put(shell.folder)
    _, key = issuer.issue().put(shell.folder, "other")

    refused = shell.flyteray("up", "--tls-certificate", str(certificate), "--tls-key", str(key))

    assert refused.returncode == 1
    assert "can't offer TLS. The key in" in refused.stderr
    assert not (shell.home / "logs").exists()  # nothing of Ray has run


def test_a_certificate_that_is_not_there_and_a_port_without_one_are_refused_at_once(shell: Shell) -> None:
    assert "File 'none.pem' does not exist" in shell.flyteray("up", "--tls-certificate", "none.pem").stderr
    told = shell.flyteray("up", "--tls-port", "0").stderr
    assert "--tls-port is said together with --tls-certificate" in told
