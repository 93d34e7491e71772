"""Handles for what runs on a cluster."""

from __future__ import annotations

from flyteray import _public
from flyteray._client.apps.app import App
from flyteray._client.credentials.keys import Key
from flyteray._client.credentials.secrets import Secret
from flyteray._client.runs.handle import Run
from flyteray._client.runs.remote_task import RemoteTask as Task
from flyteray._client.runs.remote_task import TaskDetails
from flyteray._client.session.auth import auth_metadata, current_auth_metadata
from flyteray._plan.info import AppPhase
from flyteray.models import ActionPhase

__all__ = [
    "ActionPhase",
    "App",
    "AppPhase",
    "Key",
    "Run",
    "Secret",
    "Task",
    "TaskDetails",
    "auth_metadata",
    "current_auth_metadata",
]

_public.adopt(__name__, globals())
