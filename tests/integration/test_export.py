"""What is exported for Kubernetes, as far as it runs without it: the job that serves an app, and the pods' probes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import ray
import yaml

from flyteray._client.session.session import session
from flyteray._cluster.local import LocalCluster
from tests import kuberay
from tests.acceptance.command import Shell

APP = """\
from fastapi import FastAPI

from flyteray.app.extras import FastAPIAppEnvironment
from words import HELLO

api = FastAPI()
env = FastAPIAppEnvironment(name="exported", app=api, image="ghcr.io/team/app:1")


@api.get("/")
async def hello() -> str:
    return HELLO
"""


def exported(folder: Path) -> list[dict[str, Any]]:
    (folder / "words.py").write_text('HELLO = "from a ConfigMap"\n')
    (folder / "exported_app.py").write_text(APP)
    done = Shell(folder, folder / "home").flyteray("export", "kuberay", "exported_app.py", "env")
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_the_job_serves_the_app_in_the_container_that_the_pods_are(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    manifests = exported(tmp_path)
    job = kuberay.of_kind(manifests, "RayJob")["spec"]
    head, *_ = kuberay.pods([kuberay.of_kind(manifests, "RayCluster")])
    code = tmp_path / "mounted"
    kuberay.mounted(manifests, code)
    (mount,) = job["submitterPodTemplate"]["spec"]["containers"][0]["volumeMounts"]
    environment = yaml.safe_load(job["runtimeEnvYAML"].replace(mount["mountPath"], str(code)))
    # A job inherits the variables of the head's pod; the head of the tests is no pod.
    known = {each["name"]: each["value"] for each in head["containers"][0]["env"]}
    environment["env_vars"] = {"FLYTERAY_CONTAINER": known["FLYTERAY_CONTAINER"]}

    submitted = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit"]
    submitted += ["--runtime-env-json", json.dumps(environment), "--", *job["entrypoint"].split()]
    done = subprocess.run(
        submitted,
        env={**os.environ, **cluster.shell_environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    endpoint = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("endpoint"))
    with urllib.request.urlopen(endpoint, timeout=30) as answer:
        assert json.load(answer) == "from a ConfigMap"


def test_a_pods_probe_needs_no_token(cluster: LocalCluster, tmp_path: Path) -> None:
    probe = kuberay.pods(exported(tmp_path))[0]["containers"][0]["livenessProbe"]["httpGet"]
    session().connect()
    node = ray.nodes()[0]["NodeID"]
    told = ray._private.worker.global_worker.gcs_client.internal_kv_get(
        f"DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX:{node}".encode(), namespace=b"dashboard"
    )
    host, port, _ = json.loads(told)  # in a pod the port is fixed

    with urllib.request.urlopen(f"http://{host}:{port}{probe['path']}", timeout=10) as answer:
        assert answer.read().decode().splitlines() == ["raylet: success", "gcs: success"]
