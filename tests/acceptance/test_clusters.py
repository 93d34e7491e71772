"""Every file of ``clusters/`` is checked as far as one machine can: by the schemas and the options of what reads it."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_command

import flyteray
from flyteray._control.traffic.metrics import Snapshot
from flyteray._control.traffic.metrics import text as metrics_text
from flyteray._ingress.haproxy import maps
from flyteray._plan.traffic.load import VersionLoad
from flyteray._plan.traffic.shadow import Compared
from flyteray._settings import Settings
from flyteray.cli.root import flyteray as flyteray_command
from tests import kuberay
from tests.acceptance.command import Shell
from tests.s3_server import open_server

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "clusters"
FILES = sorted(
    path.relative_to(CLUSTERS).as_posix()
    for path in CLUSTERS.rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)
RAY_UP = ["ray-up-aws.yaml", "ray-up-gcp.yaml", "ray-up-local.yaml"]
KUBERAY = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml"]
SHELL = ["machines.sh", "slurm.sbatch"]
MONITORING = ["monitoring/grafana.json", "monitoring/prometheus.yaml"]
OTHERS = ["Dockerfile", "compose.yaml", "kuberay/gateway.yaml", "local.py", *MONITORING]

COMMANDS = {"ray": ray_command, "flyteray": flyteray_command}
ENDS = list(";&|()<>`")  # of a command, for a shell
BEFORE = {"exec", "until", "--", "then", "do", "$"}
VARIABLE = re.compile(r"(?<!\w)(?:FLYTERAY|RAY)_[A-Z_]*[A-Z]")
SETTINGS = {"FLYTERAY_URL", *VARIABLE.findall((ROOT / "flyteray" / "_settings.py").read_text())}


def text(name: str) -> str:
    return (CLUSTERS / name).read_text()


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text(name)))


def opening(name: str) -> str:
    """The docstring or the comment at the top of a file, without the comment's signs."""
    if name.endswith(".py"):
        return text(name).split('"""')[1]
    if name.endswith(".json"):
        return str(json.loads(text(name))["description"])
    lines = [line for line in text(name).splitlines() if not line.startswith("#!")]
    block = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in block)


def strings(value: object) -> Iterator[str]:
    """The texts in a document; a list of words that is a command is one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        if value and value[0] in [*COMMANDS]:
            yield " ".join(map(str, value))
        for each in value:
            yield from strings(each)


def code(name: str) -> str:
    """What of a file is read by a machine, and the commands in its comments, which are indented or quoted."""
    if name.endswith(".json"):
        return opening(name)
    comments = [line.removeprefix("#") for line in text(name).splitlines() if line.lstrip().startswith("#")]
    shown = [line for line in comments if line.startswith("     ")] + re.findall(r"`[^`]+`", text(name))
    if name.endswith(".yaml"):
        run = [each for document in documents(name) for each in strings(document)]
    else:
        run = [line for line in text(name).replace("\\\n", " ").splitlines() if not line.startswith("#")]
    return "\n".join([*shown, *run])


def commands(text: str) -> Iterator[list[str]]:
    """The commands of Ray and flyteray in shell code, as words; those in quotes as well."""
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>`")
        lexer.wordchars += "$@{}:,[]%\\"
        lexer.commenters = "#"
        try:
            words = list(lexer)
        except ValueError:  # a text of several lines begins or ends here
            words = line.replace("'", " ").replace('"', " ").split()
        for number, word in enumerate(words):
            if " " in word:
                yield from commands(word)
            before = words[number - 1] if number else ";"
            begins = before[:1] in ENDS or before[-1:] == "$" or before in BEFORE or "=" in before
            following = words[number + 1] if words[number + 1 :] else ""
            if word in COMMANDS and begins and following[:1].islower():
                end = next((at for at in range(number, len(words)) if words[at][:1] in ENDS), len(words))
                yield words[number:end]


def unknown(words: list[str]) -> list[str]:
    """The parts of a command that its program does not know."""
    command: click.Command = COMMANDS[words[0]]
    context = click.Context(command)
    rest = words[1:]
    while isinstance(command, click.Group):
        if not rest:
            return ["a verb is missing"]
        found = (
            command.resolve_command(context, rest[:1])[1]
            if rest[0] in command.list_commands(context)
            else None
        )
        if found is None:
            return [rest[0]]
        command, rest = found, rest[1:]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    if command.name == "symmetric_run":  # hands on what it does not know
        known |= {option for each in ray_command.commands["start"].params for option in each.opts}
    given = rest[: rest.index("--")] if "--" in rest else rest
    return [word for word in given if word.startswith("-") and word.partition("=")[0] not in known]


def test_every_file_is_checked() -> None:
    assert sorted([*RAY_UP, *KUBERAY, *SHELL, *OTHERS]) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_file_opens_with_what_it_is_for_and_the_command_that_uses_it(name: str) -> None:
    first, *rest = opening(name).splitlines()

    assert re.match(r"[A-Z].*[.,:a-z]$", first), first
    assert any(line.startswith("    ") and f"clusters/{name}" in line for line in rest)


def test_the_dashboard_shows_metrics_that_there_are_and_all_of_them() -> None:
    load = VersionLoad("app", "v1", 1, 1, compared=Compared())
    snapshot = Snapshot([load], {"running": 1}, {"running": 1}, {"10.0.0.1": True}, {"10.0.0.1": 0}, 0.0, "1")
    told = {line.split("{")[0].split(" ")[0] for line in metrics_text(snapshot).decode().splitlines()} - {"#"}
    dashboard = json.loads(text("monitoring/grafana.json"))
    shown = set(re.findall(r"flyteray_\w+", json.dumps([dashboard["panels"], dashboard["templating"]])))

    assert shown - told == set()
    assert {name for name in told - shown if not name.endswith("_created")} == {"flyteray_build_info"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_prometheus_asks_for_the_page_that_there_is() -> None:
    [job] = documents("monitoring/prometheus.yaml")[0]["scrape_configs"]

    assert job["metrics_path"] == f"/{maps.OWN}/metrics"


@pytest.mark.parametrize("name", FILES)
def test_variables_are_those_that_flyteray_or_ray_read(name: str) -> None:
    named = set(VARIABLE.findall(text(name)))
    rays = {variable for variable in named if variable.startswith("RAY_")}

    assert {each for each in named - rays if each not in SETTINGS} == set()
    assert {each for each in rays if each not in rays_own()} == set()


@functools.cache
def rays_own() -> set[str]:
    """The variables that are named in the parts of Ray that start a node or a job."""
    house = Path(ray.__file__).parent
    parts = ("_private", "_common", "scripts", "autoscaler/_private", "dashboard/modules/job")
    sources = [path for part in parts for path in (house / part).rglob("*.py")]
    return {name for path in sources for name in re.findall(r"RAY_[A-Z_]+", path.read_text())}


@pytest.mark.parametrize("name", FILES)
def test_commands_and_their_options_are_there(name: str) -> None:
    found = list(commands(code(name)))

    assert {" ".join(words): wrong for words in found if (wrong := unknown(words))} == {}
    assert found or name == "kuberay/rayjob.yaml"  # starts a Python program


@pytest.mark.parametrize(
    "wrong",
    [
        "ray start --head --no-such",
        "ray strat",
        "flyteray up --hots 0.0.0.0",
        "flyteray get",
        "ray symmetric-run --adress x -- python",
    ],
)
def test_a_wrong_command_would_be_found(wrong: str) -> None:
    (words,) = commands(wrong)

    assert unknown(words) != []


@pytest.mark.parametrize("name", FILES)
def test_the_image_is_that_of_this_version(name: str) -> None:
    images = set(re.findall(r"(?<![\w/])flyteray:[\w.]+", text(name)))

    assert images <= {f"flyteray:{flyteray.version()}"}


# ray up


@pytest.mark.parametrize("name", RAY_UP)
def test_rays_launcher_takes_the_file(name: str) -> None:
    (config,) = documents(name)
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())

    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(config)] == []
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]
    workers = {kind: spec for kind, spec in prepared["available_node_types"].items() if kind != "head"}
    assert all(spec["max_workers"] > 0 for spec in workers.values())


@pytest.mark.parametrize("name", RAY_UP)
def test_all_nodes_have_the_token_and_the_head_has_flyteray(name: str) -> None:
    (config,) = documents(name)
    setup = " ".join(config["setup_commands"])

    assert any(path.endswith("/.ray/auth_token") for path in config["file_mounts"])
    assert "RAY_AUTH_MODE=token" in setup
    assert "FLYTERAY_STORAGE=" in setup
    assert config["head_start_ray_commands"][-1].endswith("flyteray up")
    assert all("flyteray up" not in each for each in config["worker_start_ray_commands"])


# Kubernetes


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_takes_the_manifests(name: str) -> None:
    assert [wrong for document in documents(name) for wrong in kuberay.mistakes(document)] == []


def cluster_of(name: str) -> dict[str, Any]:
    """The RayCluster of a file, or that of its job."""
    kinds = {document["kind"]: document for document in documents(name)}
    if "RayCluster" in kinds:
        return kinds["RayCluster"]
    return {"metadata": {"name": "job"}, "spec": kinds["RayJob"]["spec"]["rayClusterSpec"]}


@pytest.mark.parametrize("name", KUBERAY)
def test_pods_have_the_token_and_one_storage_and_are_watched(name: str) -> None:
    cluster = cluster_of(name)
    pods = [pod["containers"][0] for pod in kuberay.pods([cluster])]

    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert (
        len({str([each for each in pod["env"] if each["name"] == "FLYTERAY_STORAGE"]) for pod in pods}) == 1
    )
    for pod in pods:  # what they mean is tried in tests/integration/test_kuberay.py
        probes = {name: pod[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {str(each["httpGet"]) for each in probes.values()} == {
            "{'path': '/api/healthz', 'port': 52365}"
        }
        # Kubernetes' default is a second, in which a busy node does not answer.
        assert all(each["timeoutSeconds"] > 1 for each in probes.values())
        patience = {
            name: each["periodSeconds"] * each.get("failureThreshold", 3) for name, each in probes.items()
        }
        assert patience["readinessProbe"] >= patience["livenessProbe"]


@pytest.mark.parametrize("name", KUBERAY)
def test_ray_reads_node_types_that_hold_what_the_pods_have(name: str) -> None:
    cluster = cluster_of(name)
    types = kuberay.node_types(cluster)

    assert types["headgroup"]["resources"]["CPU"] == 0
    for group in cluster["spec"]["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        counted = types[group["groupName"]]["resources"]
        assert counted["CPU"] == int(container["resources"]["requests"]["cpu"])
        assert counted.get("GPU", 0) == int(container["resources"]["limits"].get("nvidia.com/gpu", 0))


def test_the_example_and_what_is_exported_start_pods_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from flyteray.app import AppEnvironment\nenv = AppEnvironment(name='flyteray', args='serve')\n"
    )
    done = Shell(tmp_path, tmp_path / "home").flyteray("export", "kuberay", "app.py", "env")
    exported = kuberay.of_kind(yaml.safe_load_all(done.stdout), "RayCluster")
    example = cluster_of("kuberay/raycluster.yaml")

    for ours, theirs in zip(kuberay.pods([exported]), kuberay.pods([example]), strict=False):
        one, other = (({**pod["containers"][0], "resources": None}) for pod in (ours, theirs))
        assert one == other


def test_the_service_and_what_is_in_front_of_it_lead_to_the_ingress() -> None:
    service = kuberay.of_kind(documents("kuberay/raycluster.yaml"), "Service")
    cluster = cluster_of("kuberay/raycluster.yaml")
    (port,) = service["spec"]["ports"]
    front = {document["kind"]: document["spec"] for document in documents("kuberay/gateway.yaml")}
    (route,) = front["HTTPRoute"]["rules"]
    (path,) = front["Ingress"]["rules"][0]["http"]["paths"]

    name = cluster["metadata"]["name"]
    assert service["spec"]["selector"] == {"ray.io/cluster": name, "ray.io/node-type": "head"}
    (head,), *workers = (pod["containers"] for pod in kuberay.pods([cluster]))
    assert {each["name"]: each["containerPort"] for each in head["ports"]}[port["targetPort"]] == 8080
    assert {"name": "FLYTERAY_PORT", "value": "8080"} in head["env"]
    assert {"name": "FLYTERAY_INGRESS", "value": "head"} in head["env"]
    assert all("ports" not in container for (container,) in workers)
    assert route["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": port["name"]}}
    assert front["HTTPRoute"]["parentRefs"][0]["sectionName"] == front["Gateway"]["listeners"][0]["name"]
    assert front["Gateway"]["listeners"][0]["hostname"] in front["HTTPRoute"]["hostnames"]


def test_the_program_of_the_job_runs(tmp_path: Path) -> None:
    source = kuberay.of_kind(documents("kuberay/rayjob.yaml"), "ConfigMap")["data"]["train.py"]
    (tmp_path / "train.py").write_text(source)
    done = Shell(tmp_path, tmp_path / "home").flyteray(
        "run", "--local", "train.py", "search", "--steps", "10"
    )

    assert done.returncode == 0, done.stderr
    assert "0.3" in done.stdout


# Docker


def test_the_services_of_compose_lead_to_one_another() -> None:
    (config,) = documents("compose.yaml")
    services = config["services"]

    assert {"head", "worker", "postgres", "s3"} <= services.keys()
    assert services["worker"]["deploy"]["replicas"] == 2
    for service in services.values():
        assert "image" in service
        assert service.get("depends_on", {}).keys() <= services.keys()
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= config["volumes"].keys()
    hosts = re.findall(
        r"(?:@|://|address=)([a-z0-9]+)(?=[:/])", json.dumps(services).replace("flyteray:", "")
    )
    assert {host for host in hosts if host != "s3"} - {"flyteray"} <= services.keys() | {"127"}


def test_compose_settings_are_settings() -> None:
    (config,) = documents("compose.yaml")
    head = {name: str(value) for name, value in config["services"]["head"]["environment"].items()}
    settings = Settings.of(head)

    assert (settings.host, settings.port, settings.asks_for_keys) == ("0.0.0.0", 8080, True)
    assert settings.storage == "s3://flyteray/cluster"
    assert settings.address == "127.0.0.1:6379"
    assert any(port.endswith(f":{settings.port}") for port in config["services"]["head"]["ports"])


def test_the_stand_in_for_s3_takes_what_the_cluster_keeps() -> None:
    (config,) = documents("compose.yaml")
    port = config["services"]["s3"]["environment"]["MOTO_PORT"]
    (python, *words) = config["services"]["bucket"]["command"]
    variables = {
        name: value for name, value in config["services"]["worker"]["environment"].items() if "AWS" in name
    }
    keep = "import sys; from flyteray.storage.address import open_storage as s; s(sys.argv[1]).put('a/b', b'kept')"
    assert python == "python"

    with open_server() as free:  # the same program as in the image
        here = f"http://127.0.0.1:{free}"
        assert variables["AWS_ENDPOINT_URL"] == f"http://s3:{port}"
        for arguments in (words, ["-c", keep, config["x-variables"]["FLYTERAY_STORAGE"]]):
            done = subprocess.run(
                [sys.executable, *(word.replace(f"http://s3:{port}", here) for word in arguments)],
                env={**os.environ, **variables, "AWS_ENDPOINT_URL": here},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr


def test_the_image_is_made_of_what_is_there() -> None:
    lines = text("Dockerfile").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    project = (ROOT / "pyproject.toml").read_text()

    assert {step for step, _ in steps} <= {"ARG", "FROM", "USER", "RUN", "COPY", "WORKDIR", "ENV"}
    for step, rest in steps:
        if step == "COPY":
            assert [source for source in rest.split()[:-1] if not (ROOT / source).exists()] == []
        for extras in re.findall(r"/build\[([\w,]+)\]", rest):
            assert all(f"\n{extra} = [" in project for extra in extras.split(","))
    assert steps[-3][0] == "USER"
    assert steps[-3][1] != "root"


# Shells


@pytest.mark.parametrize("name", SHELL)
def test_bash_reads_the_script(name: str) -> None:
    done = subprocess.run(["bash", "-n", CLUSTERS / name], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


HOST = """\
host=$1; shift
echo "$host $*" >> "$LOG"
export HOME=$HOMES/$host
mkdir -p "$HOME/bin"
echo "PATH=$HOME/bin:$PATH" > "$HOME/.bash_profile"
exec "$@" < <([ "$host" = other-disk ] && sed "s#$FLYTERAY_STORAGE#$HOME/disk#" || cat)
"""


@dataclass
class Machines:
    """Machines that ``machines.sh`` reaches by what stands in for ssh: a shell here with a home of its own for each."""

    folder: Path

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "ssh").write_text(HOST)
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("FLYTERAY_", "RAY_"))
        }
        told = {
            "SSH": f"bash {self.folder}/ssh",
            "HOME": str(self.folder),
            "HOMES": str(self.folder / "homes"),
            "LOG": str(self.folder / "log"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return subprocess.run(
            ["bash", CLUSTERS / "machines.sh", *words],
            env={**clean, **told, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def test_machines_has_a_help(machines: Machines) -> None:
    for words in ([], ["--help"], ["start", "10.0.0.1"]):
        done = machines.run(*words)

        assert done.returncode == 2
        assert "clusters/machines.sh up 10.0.0.1 10.0.0.2 10.0.0.3" in done.stderr


@pytest.mark.parametrize(
    ("words", "storage", "message"),
    [
        (["up"], "s3://bucket", "name the machines, the head first"),
        (["up", "head"], "", "say where all machines keep their things: export FLYTERAY_STORAGE=s3://"),
        (["up", "head"], "data", "FLYTERAY_STORAGE is data: give a whole path, which begins with /."),
    ],
)
def test_machines_refuses_what_can_not_work(
    machines: Machines, words: list[str], storage: str, message: str
) -> None:
    done = machines.run(*words, FLYTERAY_STORAGE=storage)

    assert done.returncode == 1
    assert message in done.stderr


def test_machines_refuses_different_versions(machines: Machines) -> None:
    other = machines.folder / "homes" / "old" / "bin" / "python"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\necho Python 3.9.1 Ray 2.50.0 flyteray 0.0.1\n")
    other.chmod(0o755)

    done = machines.run("up", "head", "old", FLYTERAY_STORAGE="s3://bucket")

    assert done.returncode == 1
    assert "old has Python 3.9.1 Ray 2.50.0 flyteray 0.0.1: install the same on all of them." in done.stderr


def test_machines_refuses_a_folder_that_is_not_shared(machines: Machines, tmp_path: Path) -> None:
    done = machines.run("up", "head", "other-disk", FLYTERAY_STORAGE=str(tmp_path / "shared"))

    assert done.returncode == 1
    assert f"{tmp_path}/shared is not the same folder on head and other-disk: mount one there" in done.stderr
    assert list((tmp_path / "shared").iterdir()) == []


def test_machines_gives_nothing_secret_to_be_seen_in_a_list_of_processes(machines: Machines) -> None:
    other = machines.folder / "homes" / "head" / "bin" / "python"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\nexit 1\n")  # so that nothing is started
    other.chmod(0o755)
    secrets = {"FLYTERAY_SECRETS_KEY": "sesame", "AWS_SECRET_ACCESS_KEY": "open"}
    assert machines.run("up", "head", FLYTERAY_STORAGE="s3://bucket", **secrets).returncode == 1
    token = (machines.folder / ".ray" / "auth_token").read_text()
    given = machines.folder / "homes" / "head" / ".ray" / "auth_token"

    assert set((machines.folder / "log").read_text().splitlines()) == {"head bash -ls"}
    assert given.read_text() == token
    assert given.stat().st_mode & 0o777 == 0o600


def test_machines_get_the_variables_of_traces(machines: Machines) -> None:
    other = machines.folder / "homes" / "head" / "bin" / "python"
    other.parent.mkdir(parents=True)
    other.write_text('#!/bin/sh\necho "$OTEL_EXPORTER_OTLP_ENDPOINT" > "$HOME/told"; exit 1\n')
    other.chmod(0o755)
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    machines.run("up", "head", FLYTERAY_STORAGE="s3://bucket", **traces)

    assert (machines.folder / "homes" / "head" / "told").read_text() == "http://collector:4318\n"


def test_slurm_starts_one_ray_a_node_and_the_script_on_the_first() -> None:
    (words,) = [each for each in commands(code("slurm.sbatch")) if each[1] == "symmetric-run"]

    assert words[words.index("--") :] == ["--", "env", "RAY_ADDRESS=$address", "python", "$@"]
    assert "#SBATCH --ntasks-per-node=1" in text("slurm.sbatch")


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("10.0.0.1", "10.0.0.1:6379"),
        ("fd00::1 127.0.1.1 10.0.0.1 10.1.0.1", "10.0.0.1:6379"),
        ("::1 127.0.1.1", None),
    ],
)
def test_slurm_starts_the_head_at_an_address_that_other_nodes_reach(
    tmp_path: Path, told: str, address: str | None
) -> None:
    programs = {
        "scontrol": "echo node-1; echo node-2",
        "ray": "",
        "srun": f'case "$*" in *hostname*) echo "{told}" ;; *) echo "$@" ;; esac',
    }
    for name, program in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SUBMIT_DIR": str(tmp_path), "JOB_ID": "7", "JOB_NODELIST": "node-[1-2]", "JOB_NUM_NODES": "2"}
    done = subprocess.run(
        ["bash", CLUSTERS / "slurm.sbatch", "train.py"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_CPUS_PER_TASK": "8",
            **{f"SLURM_{name}": value for name, value in slurm.items()},
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == (0 if address else 1)
    if address:
        assert f"symmetric-run --address {address} --min-nodes 2" in done.stdout
    else:
        assert f"can't reach node-1 by what its name stands for there ({told})" in done.stderr


def test_the_local_cluster_takes_the_options_of_up() -> None:
    done = subprocess.run(
        [sys.executable, CLUSTERS / "local.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "Start the local cluster" in done.stdout
