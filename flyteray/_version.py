"""The version of flyteray, and the folder of its code."""

from pathlib import Path

__version__ = "0.1.0"

HOUSE = Path(__file__).parent
"""The folder of flyteray's own code."""


def version() -> str:
    """The version of flyteray."""
    return __version__
