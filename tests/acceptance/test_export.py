"""An exported app is served from its ConfigMap: the files as Kubernetes lays them out, packed as Ray packs a job's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import yaml
from ray._private.runtime_env.packaging import create_package

from tests import kuberay
from tests.acceptance.command import Shell

APP = """\
from flyteray.app import AppEnvironment
from team.words import ARGS

env = AppEnvironment(name="hello", args=ARGS)
"""


def test_the_job_finds_the_app_in_what_was_exported(tmp_path: Path) -> None:
    written = tmp_path / "written"
    (written / "team").mkdir(parents=True)
    (written / "team" / "words.py").write_text('ARGS = "python -m http.server 8080"\n')
    (written / "app.py").write_text(APP)
    shell = Shell(written, tmp_path / "home")
    exported = shell.flyteray("export", "kuberay", "app.py", "env", "-o", str(tmp_path / "app.yaml"))
    assert exported.returncode == 0, exported.stderr
    manifests = list(yaml.safe_load_all((tmp_path / "app.yaml").read_text()))
    job = kuberay.of_kind(manifests, "RayJob")["spec"]

    kuberay.mounted(manifests, tmp_path / "code")
    excludes = yaml.safe_load(job["runtimeEnvYAML"])["excludes"]
    create_package(str(tmp_path / "code"), tmp_path / "job.zip", excludes=excludes, include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "job.zip") as archive:
        assert sorted(archive.namelist()) == ["app.py", "team/words.py"]
        archive.extractall(tmp_path / "job")

    assert job["entrypoint"] == "flyteray serve app.py env"
    done = Shell(tmp_path / "job", tmp_path / "home").flyteray("deploy", "--dry-run", "app.py", "env")
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout


def test_the_job_of_a_script_of_flyte_says_so(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        'import flyte\nfrom flyte.app import AppEnvironment\n\nenv = AppEnvironment(name="hello", args="serve")\n'
    )
    done = Shell(tmp_path, tmp_path / "home").flyteray("export", "kuberay", "--as-flyte", "app.py", "env")
    assert done.returncode == 0, done.stderr
    job = kuberay.of_kind(yaml.safe_load_all(done.stdout), "RayJob")["spec"]

    assert job["entrypoint"] == "flyteray serve --as-flyte app.py env"
