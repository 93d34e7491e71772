"""The main job with its storage on a real S3-compatible server, of whose requests every third fails."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._plan.values.outputs import output_key
from flyteray.storage import open_storage
from flyteray.storage.values import read_value
from tests.acceptance.command import Shell
from tests.s3_server import BUCKET, Front, S3Server

pytestmark = pytest.mark.timeout(600)

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_and_serve.py"
URL = f"s3://{BUCKET}/team"
PROGRAM = """
import subprocess, sys
from pathlib import Path
import numpy as np
import flyteray as flyte
from flyteray.io import Dir, File

env = flyte.TaskEnvironment(name="kept")


@env.task
async def keep(values: np.ndarray) -> tuple[File, Dir, float, str]:
    Path("folder").mkdir()
    for name in "ab":
        Path("folder", name).write_text(name)
    child = "from flyteray.io import File; print(File.from_local_sync('folder/a').path)"
    by_child = subprocess.check_output([sys.executable, "-c", child], text=True).strip()
    return await File.from_local("folder/a"), await Dir.from_local("folder"), float(values.sum()), by_child


@env.task
async def read(file: File, folder: Dir) -> str:
    names = sorted(path.name for path in Path(await folder.download()).iterdir())
    return Path(await file.download()).read_text() + ":" + "".join(names)


if __name__ == "__main__":
    try:
        file, folder, total, by_child = flyte.run(keep, np.ones(1_000_000)).outputs()
        print(file.path, by_child, total, flyte.run(read, file, folder).outputs()[0])
    except flyte.errors.StorageError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path | None]:
    """A disk that nobody may write to; None where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "flyteray-test", str(disk)], check=False)
    yield disk if mounted.returncode == 0 else None
    if mounted.returncode == 0:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "program.py").write_text(PROGRAM)
    shell = Shell(tmp_path, tmp_path / "home")
    yield shell
    shell.flyteray("down")


def test_the_main_job_has_its_storage_on_s3_and_survives_its_failures(
    shell: Shell, s3: S3Server, read_only: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Front(s3.port, fails=lambda number: number % 3 == 0) as front:
        for name, value in s3.environment(port=front.port).items():
            monkeypatch.setenv(name, value)  # the head's too, which has it from the first command
        # What can't be a storage is told by the first verb, and the next one may name another.
        misspelt = shell.run([sys.executable, "program.py"], FLYTERAY_STORAGE="s3:/bucket")
        assert "FLYTERAY_STORAGE: Storage 's3:/bucket' is neither a URL nor a path: write" in misspelt.stderr
        if read_only is not None:
            refused = shell.run([sys.executable, "program.py"], FLYTERAY_STORAGE=str(read_only))
            assert (
                f"StorageError Storage {read_only} can't be made ready: its disk is mounted" in refused.stdout
            )

        done = shell.run([sys.executable, str(EXAMPLE)], FLYTERAY_STORAGE=URL, FLYTERAY_NUM_CPUS="2")
        assert done.returncode == 0, done.stderr
        assert float(found(r"Accuracy: ([\d.]+)", done.stdout)) > 0.95
        kept = shell.run([sys.executable, "program.py"], FLYTERAY_STORAGE="/another")
        assert f"Storage '/another' is not used: this cluster has '{URL}'" in kept.stderr
        assert re.fullmatch(
            rf"{URL}/runs/r\w+/a0/data/\w+/a {URL}/files/\w+/a 1000000\.0 a:ab\n", kept.stdout
        ), kept

    # What is kept is all there, and there only.
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.environment()["AWS_ENDPOINT_URL"])
    run = found(r"Training: run (r\w+)", done.stdout)
    model = read_value(open_storage(URL), output_key(run), shell.folder)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.environment(port=front.port)["AWS_ENDPOINT_URL"])
    assert "SVC(C=10.0, gamma=0.02)" in repr(model)
    assert not (shell.home / "storage").exists()
    assert front.failed > 10

    # Without its storage a verb says so; with it all goes on.
    gone = shell.run([sys.executable, "program.py"])
    assert "StorageError Storage s3://bucket/team did not let us" in gone.stdout, gone
    assert f"127.0.0.1:{front.port} can't be reached, asked 11 times" in gone.stdout
    with Front(s3.port, port=front.port):
        assert "1000000.0 a:ab" in shell.run([sys.executable, "program.py"]).stdout


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]
