"""User code that configures logging leaves Serve's handlers alone."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from flyteray._serve import serve_logs


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
    serve_logs.protect()
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    logging.getLogger("ray.serve").warning("still here")

    assert isinstance(handler.target, logging.FileHandler)
    assert handler.target.baseFilename == str(tmp_path / "serve.log")
    assert "still here" in (tmp_path / "serve.log").read_text()
