"""Handles for what runs on a cluster."""

from __future__ import annotations

import typing

from flyteray import _public
from flyteray._client.account import Project, User
from flyteray._client.apps.app import App
from flyteray._client.artifacts import Artifact
from flyteray._client.credentials.keys import Key
from flyteray._client.credentials.secrets import Secret
from flyteray._client.history.action import Action
from flyteray._client.history.details import ActionDetails, RunDetails
from flyteray._client.runs.condition import RemoteCondition as Condition
from flyteray._client.runs.handle import Run
from flyteray._client.runs.remote_task import RemoteTask as Task
from flyteray._client.runs.remote_task import TaskDetails
from flyteray._client.session.auth import auth_metadata, current_auth_metadata
from flyteray._client.triggers.details import TriggerDetails
from flyteray._client.triggers.handle import Trigger
from flyteray._client.uploads import upload_dir, upload_file
from flyteray._plan.info import AppPhase, AppVersion
from flyteray._plan.runs import TimeFilter
from flyteray._plan.triggers.partitions import PartitionSchema
from flyteray._plan.values.outputs import ActionInputs, ActionOutputs
from flyteray.models import ActionPhase

__all__ = [
    "Action",
    "ActionDetails",
    "ActionInputs",
    "ActionOutputs",
    "ActionPhase",
    "App",
    "AppPhase",
    "AppVersion",
    "Artifact",
    "Condition",
    "Key",
    "PartitionSchema",
    "Project",
    "Run",
    "RunDetails",
    "Secret",
    "SecretTypes",
    "Task",
    "TaskDetails",
    "TimeFilter",
    "Trigger",
    "TriggerDetails",
    "User",
    "auth_metadata",
    "current_auth_metadata",
    "upload_dir",
    "upload_file",
]

SecretTypes = typing.Literal["regular", "image_pull"]
"""The kinds of secrets of Flyte; on Ray there are regular ones."""

_public.adopt(__name__, globals())

_INSTEAD = {
    "Settings": "a cluster of Ray has no settings by project and domain. What a process starts with says "
    "flyteray.init, what a run has says flyteray.with_runcontext.",
}


def __getattr__(name: str) -> typing.Any:
    return _public.absent(__name__, name, _INSTEAD)
