"""Ready-made kinds of apps, one file each."""

from flyteray.app.extras.asgi import ASGIAppEnvironment
from flyteray.app.extras.fastapi import FastAPIAppEnvironment

__all__ = ["ASGIAppEnvironment", "FastAPIAppEnvironment"]
