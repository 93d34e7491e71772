"""``flyteray export kuberay``, without a process or a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from flyteray.cli.verbs.export import export
from tests import kuberay

APP = """\
import flyteray as flyte
from flyteray.app import AppEnvironment, Scaling

tasks = flyte.TaskEnvironment(name="words")
env = AppEnvironment(
    name="hello", args="python -m http.server 8080", resources=flyte.Resources(cpu=2), scaling=Scaling((1, 3))
)
lacking = AppEnvironment(
    name="lacking", args="serve", parameters=[flyte.app.Parameter(name="model", value=None)]
)


@tasks.task
def shout(text: str) -> str:
    return text.upper()
"""


@pytest.fixture
def file(project: Path) -> str:
    (project / "app.py").write_text(APP)
    return str(project / "app.py")


def run(*words: str) -> Result:
    return CliRunner().invoke(export, ["kuberay", *words])


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_the_documents_are_what_kuberay_takes(file: str) -> None:
    done = run(file, "env")
    documents = list(yaml.safe_load_all(done.stdout))

    assert done.exit_code == 0
    assert [each["kind"] for each in documents] == [
        "PersistentVolumeClaim",
        "ConfigMap",
        "RayCluster",
        "Service",
        "RayJob",
    ]
    assert [wrong for each in documents for wrong in kuberay.mistakes(each)] == []
    assert kuberay.of_kind(documents, "ConfigMap")["data"] == {"app.py": APP}
    types = kuberay.node_types(kuberay.of_kind(documents, "RayCluster"))
    assert {name: (kind["min_workers"], kind["max_workers"]) for name, kind in types.items()} == {
        "headgroup": (0, 0),
        "hello": (1, 3),
        "words-tasks": (0, 10),
    }


def test_code_is_written_for_people_to_read(file: str) -> None:
    assert "  app.py: |\n    import flyteray as flyte\n" in run(file, "env").stdout


def test_what_is_left_to_people_is_on_stderr_and_at_the_top(file: str) -> None:
    done = run(file, "env")

    assert "kubectl create secret generic hello-head" in done.stderr
    assert done.stdout.startswith(
        "# Made by `flyteray export kuberay`.\n# Once, before they are applied: kubectl"
    )


def test_json_is_one_list_with_the_same_documents(file: str) -> None:
    made = json.loads(run("--json", file, "env").stdout)

    assert (made["apiVersion"], made["kind"]) == ("v1", "List")
    assert made["items"] == list(yaml.safe_load_all(run(file, "env").stdout))


def test_a_file_can_be_named(file: str, tmp_path: Path) -> None:
    done = run("-o", str(tmp_path / "hello.yaml"), file, "env")

    assert done.stdout == ""
    assert (tmp_path / "hello.yaml").read_text() == run(file, "env").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such"], "'no_such' in 'app' does not exist; it has: env, lacking, tasks."),
        (["tasks"], "'tasks' is a TaskEnvironment, and what is exported is an app. Tasks need no manifests"),
        (["shout"], "'shout' in 'app' is a"),
        (["env", "--node-selector", "gpu"], "'gpu' is not NAME=VALUE"),
        (["env", "--storage", "/data"], "'/data' is no bucket"),
        (["env", "--name", "Hello"], "'Hello' can't be a cluster's name"),
        (["env", "--copy-style", "none"], "Version is required"),
        (["env", "--task-pods", "0"], "0 is not in the range x>=1"),
        (["lacking"], "Parameter 'model' of app 'lacking' has no value"),
        (["env", "-o", "no/such/folder/a.yaml"], "'no/such/folder/a.yaml' can't be written: No such file"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(file: str, arguments: list[str], message: str) -> None:
    done = run(file, *arguments)

    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    assert message in words(done.stderr)
