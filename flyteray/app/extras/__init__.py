"""Ready-made kinds of apps."""

from flyteray import _public
from flyteray.app.extras.asgi import ASGIAppEnvironment
from flyteray.app.extras.fastapi import FastAPIAppEnvironment
from flyteray.app.extras.gradio import GradioAppEnvironment
from flyteray.app.extras.language_model import SGLangAppEnvironment, VLLMAppEnvironment
from flyteray.app.extras.passthrough import FastAPIPassthroughAuthMiddleware
from flyteray.app.extras.serve import ServeAppEnvironment
from flyteray.app.extras.streamlit import StreamlitAppEnvironment
from flyteray.app.extras.webhook import FlyteWebhookAppEnvironment

__all__ = [
    "ASGIAppEnvironment",
    "FastAPIAppEnvironment",
    "FastAPIPassthroughAuthMiddleware",
    "FlyteWebhookAppEnvironment",
    "GradioAppEnvironment",
    "SGLangAppEnvironment",
    "ServeAppEnvironment",
    "StreamlitAppEnvironment",
    "VLLMAppEnvironment",
]

_public.adopt(__name__, globals())
