"""Which flyteray this is."""

__version__ = "0.1.0"


def version() -> str:
    """The version of flyteray."""
    return __version__
