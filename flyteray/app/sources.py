"""Sources stand for a parameter's value: an output of a task, the endpoint of another app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from flyteray._declare.facts import APP_NAME
from flyteray._declare.this_cluster import this_process
from flyteray.io import Dir, File
from flyteray.io.as_model import AsModel

if TYPE_CHECKING:
    from typing_extensions import Self

ParameterKind = Literal["string", "file", "directory", "app_endpoint", "object"]

KINDS: tuple[str, ...] = get_args(ParameterKind)


@dataclass(frozen=True)
class AppEndpoint(AsModel):
    """The URL of another app, looked up when the app starts.

    Args:
        app_name: The other app.
        public: Flyte tells a public address from one inside the cluster; here there is one for both.
    """

    app_name: str
    public: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.app_name, str) or not APP_NAME.fullmatch(self.app_name):
            raise ValueError(
                f"AppEndpoint needs the name of an app, got {self.app_name!r}: it has lower-case letters, digits and - "
                "only."
            )

    async def materialize(self) -> Self:
        """Itself: the URL is looked up when the app starts."""
        return self

    @property
    def type(self) -> Literal["string"]:
        """The kind of value that the app is given: a text, the URL."""
        return "string"

    def model_dump(self) -> dict[str, Any]:
        """The fields as plain values, with the type."""
        return {"type": self.type, **super().model_dump()}

    @classmethod
    def model_validate(cls, fields: Mapping[str, Any]) -> Self:
        """The value of these fields; errors as in the constructor."""
        return cls(**{name: value for name, value in fields.items() if name != "type"})


@dataclass(frozen=True)
class RunOutput(AsModel):
    """An output of a task, fixed when the app is deployed: deploy again to pick up a newer run.

    With ``follow`` it is the newest at any time: when a run of the task succeeds, running replicas fetch its output
    beside the old one and, if ``@env.on_update`` agrees, swap them at once, without a restart.

    Outputs are in the object store and in storage, so they outlive the cluster.

    Args:
        type: What it is: ``"string"``, ``"file"``, ``"directory"`` or ``"app_endpoint"``, or the classes str,
            File, Dir, AppEndpoint. Beyond Flyte, ``"object"``: any Python value. Replicas on a node share one copy of
            its arrays, which are read-only: copy before changing them.
        run_name: Of this run. Wins over ``task_name``.
        task_name: Of the newest successful run of this task, ``<environment>.<function>``.
        task_version: Only runs of this version of the task, as :func:`flyteray.deploy` named it.
        task_auto_version: ``"latest"``: only runs of the version that was deployed last. ``"current"``: only those
            of the version that the code has which serves the app, where that runs in a task.
        getter: Which output, and what inside it: ``(1, "model")`` is ``outputs[1]["model"]``. Default: the
            first output.
        follow: Beyond Flyte: take newer outputs while the app runs. Needs ``task_name``.

    Raises:
        ValueError: Another type or ``task_auto_version``, a version and an automatic one, or ``follow`` of one run.
        TypeError: A name that is no str, or a getter that is no sequence of ints and strs.
    """

    type: Any
    run_name: str | None = None
    task_name: str | None = None
    task_version: str | None = None
    task_auto_version: Literal["latest", "current"] | None = None
    getter: tuple[int | str, ...] = (0,)
    follow: bool = False

    def __post_init__(self) -> None:
        classes = {
            str: "string",
            File: "file",
            Dir: "directory",
            AppEndpoint: "app_endpoint",
            object: "object",
        }
        kind = classes.get(self.type, self.type) if isinstance(self.type, type) else self.type
        if kind not in KINDS:
            raise ValueError(
                f"RunOutput type must be one of {', '.join(KINDS)}, or a class, got {self.type!r}."
            )
        object.__setattr__(self, "type", kind)
        for field in ("run_name", "task_name", "task_version"):
            name = getattr(self, field)
            if name is not None and not isinstance(name, str):
                raise TypeError(f"RunOutput {field} must be a str, got {name!r}.{_way_out(field, name)}")
        self._check_version()
        self._check_follow()
        steps = self.getter
        if not isinstance(steps, (tuple, list)) or not all(isinstance(step, (int, str)) for step in steps):
            raise TypeError(f"RunOutput getter must be a tuple of ints and strs, got {steps!r}.")
        object.__setattr__(self, "getter", tuple(steps))

    async def materialize(self) -> Any:
        """The output as it is now, read from the cluster. Apps do not need it: they are given the value itself.

        Raises:
            InitializationError: before :func:`flyteray.init`.
            ParameterMaterializationError: no run of the task has succeeded, or the one that is named has not.
            OutputNotFoundError: there is nothing under ``getter``, or no class for it here.
        """
        return await this_process().cluster.read_output(self)

    def _check_version(self) -> None:
        if self.task_auto_version not in (None, "latest", "current"):
            raise ValueError(
                f'RunOutput task_auto_version must be "latest", "current" or None, got {self.task_auto_version!r}.'
            )
        if self.task_version is not None and self.task_auto_version is not None:
            raise ValueError("RunOutput takes task_version or task_auto_version, not both.")

    def _check_follow(self) -> None:
        if not isinstance(self.follow, bool):
            raise TypeError(f"RunOutput follow must be a bool, got {self.follow!r}.")
        if self.follow and (self.run_name is not None or self.task_name is None):
            raise ValueError(
                "RunOutput(follow=True) follows the runs of a task: give task_name, and no run_name, whose output "
                "never changes."
            )


def _way_out(field: str, given: object) -> str:
    name = getattr(given, "name", None)
    return f" Give its name: {field}={name!r}." if isinstance(name, str) else ""
