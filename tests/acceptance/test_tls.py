"""Apps of a local cluster with a certificate: what users are told, what clients get, how code on the machine calls."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.command import Shell
from tests.certificates import Issuer
from tests.waiting import eventually

SCRIPT = """
import httpx
from fastapi import FastAPI, Request

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
front = FastAPIAppEnvironment(name="front", app=api)
env = flyte.TaskEnvironment(name="caller", depends_on=[front])


@api.get("/")
def scheme(request: Request) -> str:
    return request.url.scheme


@env.task
def call() -> str:
    return front.endpoint + " " + httpx.get(front.endpoint, follow_redirects=True).json()
"""


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> tuple[Path, Path]:
    return issuer.issue("apps.example.org", "localhost", "front.localhost").put(
        tmp_path_factory.mktemp("tls")
    )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, files: tuple[Path, Path]) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("work")
    (folder / "calls.py").write_text(SCRIPT)
    shell = Shell(folder, tmp_path_factory.mktemp("home"))
    certificate, key = map(str, files)
    options = "--num-cpus", "2", "--tls-certificate", certificate, "--tls-key", key
    started = shell.flyteray("up", *options)
    assert started.returncode == 0, started.stderr
    yield shell
    shell.flyteray("down")


@pytest.fixture(scope="module")
def served(shell: Shell) -> dict[str, Any]:
    told = shell.json("serve", "calls.py", "front")
    assert isinstance(told, dict)
    return told


def test_status_says_where_tls_is_and_by_which_certificate(shell: Shell) -> None:
    eventually(lambda: "until" in shell.json("status")["tls"])

    told = shell.json("status")
    assert told["tls"].startswith("port ")
    assert "for apps.example.org, localhost, front.localhost, until 20" in told["tls"]
    assert told["apps"].startswith("https://apps.example.org:")


def test_browsers_and_programs_elsewhere_are_given_https(
    shell: Shell, served: dict[str, Any], issuer: Issuer
) -> None:
    port = int(shell.json("status")["tls"].split()[1].rstrip(","))
    trusting = ssl.create_default_context(cadata=issuer.certificate.decode())

    assert served["url"] == f"https://front.localhost:{port}/"
    with httpx.Client(verify=trusting) as http:
        answer = http.get(f"https://localhost:{port}/", headers={"Host": f"front.localhost:{port}"})
    assert answer.json() == "https"


def test_code_on_the_machine_needs_no_certificate(shell: Shell, served: dict[str, Any]) -> None:
    done = shell.json("run", "calls.py", "call")

    endpoint, scheme = done["outputs"][0].split()
    assert endpoint.startswith("http://127.0.0.1:")
    assert scheme == "http"


def test_another_certificate_is_taken_from_the_files(
    shell: Shell, files: tuple[Path, Path], issuer: Issuer
) -> None:
    issuer.issue("other.example.org", "localhost").put(files[0].parent)

    eventually(lambda: "for other.example.org, localhost" in shell.json("status")["tls"])


def test_a_running_cluster_says_that_a_certificate_changes_nothing(
    shell: Shell, files: tuple[Path, Path]
) -> None:
    told = shell.flyteray("up", "--tls-certificate", str(files[0]), "--tls-key", str(files[1]))

    assert "--tls-certificate and --tls-key change nothing" in told.stderr


def test_a_certificate_that_is_wrong_is_told_and_no_cluster_stays(tmp_path: Path, issuer: Issuer) -> None:
    shell = Shell(tmp_path, tmp_path / "home")
    certificate, _ = issuer.issue().put(tmp_path)
    _, key = issuer.issue().put(tmp_path, "other")

    refused = shell.flyteray(
        "up", "--num-cpus", "1", "--tls-certificate", str(certificate), "--tls-key", str(key)
    )

    assert refused.returncode == 1
    assert "can't offer TLS. The key in" in refused.stderr
    assert shell.flyteray("status").stderr.startswith("No local cluster runs")


def test_a_file_that_is_not_there_and_a_key_without_a_certificate_are_refused_at_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tmp_path / "home")

    assert "File 'none.pem' does not exist" in shell.flyteray("up", "--tls-certificate", "none.pem").stderr
    told = shell.flyteray("up", "--tls-port", "0").stderr
    assert "--tls-port is said together with --tls-certificate" in told
