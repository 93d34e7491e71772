"""What a process that runs an app in local mode is told: the version, and what a replica would ask a cluster for."""

from __future__ import annotations

from pydantic import Field

from flyteray._plan.spec import AppSpec, Spec

READY = "ready"  # a file in the plan's folder, made when the app takes requests
NEWEST = "newest.json"  # in the shared folder: run and storage of the outputs that are followed, by their refs' digests
SECRETS = "FLYTERAY_LOCAL_SECRETS"  # an environment variable that it takes away before user code runs
ERROR = "error"  # likewise, an ErrorInfo, when it could not start or has failed


class LocalPlan(Spec):
    """An app version in local mode.

    ``bundle`` is the zip file of the code; ``shared`` is the folder of all local apps of the process that serves them,
    ``folder`` this app's own, to which it writes ``ready`` or ``error``. ``outputs`` tells in which storage the outputs
    of a run are, ``given`` in which files the pickled values of parameters. ``python`` is that of a program's image.
    ``drain_s`` is how long open requests may go on when it is asked to stop.
    """

    app: AppSpec
    bundle: str
    shared: str
    folder: str
    host: str
    port: int
    outputs: dict[str, str] = Field(default_factory=dict)
    given: dict[str, str] = Field(default_factory=dict)
    python: str | None = None
    drain_s: float = 4.0
