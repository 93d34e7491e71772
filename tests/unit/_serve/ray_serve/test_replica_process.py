"""User code that configures logging leaves Serve's handlers alone."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from flyteray._serve.ray_serve import replica_process


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[logging.handlers.MemoryHandler]:
    """A handler as Serve gives it to a replica."""
    target = logging.FileHandler(tmp_path / "serve.log")
    handler = logging.handlers.MemoryHandler(capacity=1, target=target)
    logger = logging.getLogger("ray.serve")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    target.close()


def test_a_protected_handler_survives_dict_config(
    handler: logging.handlers.MemoryHandler, tmp_path: Path
) -> None:
    replica_process.protect_log_handlers()
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    logging.getLogger("ray.serve").warning("still here")

    assert isinstance(handler.target, logging.FileHandler)
    assert handler.target.baseFilename == str(tmp_path / "serve.log")
    assert "still here" in (tmp_path / "serve.log").read_text()


def test_what_a_program_says_in_a_replica_is_shown_once_whatever_it_tells_init() -> None:
    say = (
        "import logging, flyteray; from flyteray._serve.ray_serve import replica_process; "
        "replica_process.log_own_messages(); "
        "flyteray.init(); flyteray.logger.info('Theirs.'); flyteray.system_logger.info('Ours.')"
    )
    said = subprocess.run([sys.executable, "-c", say], check=True, capture_output=True, text=True).stderr

    assert [line.split()[-1] for line in said.splitlines()] == ["Theirs.", "Ours."]


def test_what_flyteray_says_is_shown_unless_the_user_configures_logging() -> None:
    say = (
        "import logging; from flyteray._serve.ray_serve import replica_process; "
        "replica_process.log_own_messages(); replica_process.log_own_messages(); "
        "log = logging.getLogger('flyteray._serve.parameters.downloads'); log.info('Fetched it.'); "
        "logging.basicConfig(format='mine %(message)s', level=logging.INFO); log.info('Again.')"
    )
    said = subprocess.run([sys.executable, "-c", say], check=True, capture_output=True, text=True).stderr

    assert [
        line.partition("flyteray._serve.parameters.downloads: ")[2] or line for line in said.splitlines()
    ] == [
        "Fetched it.",
        "mine Again.",
    ]
