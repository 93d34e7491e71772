"""Triggers start runs of a task by themselves: on schedules and on new artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flyteray._declare.env_vars import checked_env_vars
from flyteray._declare.options.documentation import shortened
from flyteray._declare.options.notification import Notification, check_notifications
from flyteray._declare.options.schedule import Cron, FixedRate


@dataclass(frozen=True, init=False)
class OnArtifact:
    """Each new version of an artifact.

    Args:
        name: The artifact's.
        version: This one only.
        partitions: Only those with these values; they can be given as keywords as well.

    Raises:
        ValueError: An empty name.
        TypeError: A partition's value that is no str.
    """

    name: str
    version: str | None
    partitions: Mapping[str, str] | None

    def __init__(
        self,
        name: str,
        version: str | None = None,
        partitions: Mapping[str, str] | None = None,
        **partition_kwargs: str,
    ) -> None:
        if not name:
            raise ValueError("OnArtifact needs the name of an artifact, got an empty one.")
        wanted = {**(partitions or {}), **partition_kwargs}
        for key, value in wanted.items():
            if not isinstance(value, str):
                raise TypeError(f"OnArtifact: partition {key!r} must be a str, got {value!r}.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "partitions", wanted or None)


class _Sentinel:
    """Stands for a value that is known when a trigger fires."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name  # there is one of each


TriggerTime: Final = _Sentinel("TriggerTime")
"""As an input of a trigger: the time for which it was scheduled."""

TriggeredArtifact: Final = _Sentinel("TriggeredArtifact")
"""As an input of a trigger: the artifact that fired it."""


@dataclass(frozen=True)
class TriggeredPartition:
    """As an input of a trigger: a partition's value of the artifact that fired it; ValueError for an empty key.

    It is given as what the input is annotated as: a number, a text, or of a time its begin, as a ``date`` or as a
    ``datetime`` in UTC.
    """

    key: str

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("TriggeredPartition needs the key of a partition, got an empty one.")


@dataclass(frozen=True)
class Trigger:
    """A start of a task's runs by itself, and their inputs; given to ``@env.task(triggers=...)``.

    ``flyteray.deploy`` puts it to use, in place of one of that name of an earlier deployment: from then on the cluster
    starts a run of the deployed version at each time of the schedule, exactly one, also when its controller dies. Local
    runs know no triggers.

    After an outage the runs of the last ten minutes are caught up, each with its own :data:`TriggerTime`; where there
    is none among them, the last one before. A trigger that is deployed anew with the same schedule goes on; one that
    was switched off catches up nothing. The run is named by trigger and time: ``nightly-20261130T060000-0a1b2c3d``.

    Args:
        name: Tells the triggers of a task apart.
        automation: :class:`Cron`, :class:`FixedRate` or :class:`OnArtifact`; None: it is fired by hand, by
            ``flyteray.run(flyteray.remote.Trigger.get(...))``.
        description: For people; more than 255 characters are cut off.
        auto_activate: Whether it is active once deployed.
        inputs: Inputs of the runs, at most a megabyte; :data:`TriggerTime` stands for the time of the schedule, a
            datetime in UTC.
        env_vars: Environment variables of the runs.
        interruptible, overwrite_cache, queue, max_action_concurrency, labels, annotations, notifications,
            custom_context: Of the runs, as of :func:`flyteray.with_runcontext`; what means nothing on Ray is warned of
            when it is deployed.

    Raises:
        TypeError: An automation of another type, or env_vars that map no str to str.
        ValueError: An empty name, a limit of 1, which no task that calls another one could get over, or inputs that the
            automation has no value for.
    """

    name: str
    automation: Cron | FixedRate | OnArtifact | None = None
    description: str = ""
    auto_activate: bool = True
    inputs: dict[str, Any] | None = None
    env_vars: dict[str, str] | None = None
    interruptible: bool | None = None
    overwrite_cache: bool = False
    queue: str | None = None
    max_action_concurrency: int | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    notifications: Notification | Sequence[Notification] | None = None
    custom_context: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("A Trigger needs a name, got an empty one.")
        if self.automation is not None and not isinstance(self.automation, (Cron, FixedRate, OnArtifact)):
            raise TypeError(
                f"Trigger {self.name!r}: automation must be a Cron, a FixedRate or an OnArtifact, got "
                f"{self.automation!r}."
            )
        self._check_inputs()
        check_notifications(f"Trigger {self.name!r}", self.notifications)
        if self.env_vars is not None:
            env_vars = checked_env_vars(f"Trigger {self.name!r}", self.env_vars)
            object.__setattr__(self, "env_vars", env_vars)
        check_action_concurrency(f"Trigger {self.name!r}", self.max_action_concurrency)
        object.__setattr__(self, "description", shortened(self.description or ""))

    def _check_inputs(self) -> None:
        given = self.inputs or {}
        artifacts = sorted(key for key, value in given.items() if value is TriggeredArtifact)
        partitions = sorted(key for key, value in given.items() if isinstance(value, TriggeredPartition))
        times = sorted(key for key, value in given.items() if value is TriggerTime)
        if len(artifacts) > 1:
            raise ValueError(
                f"Trigger {self.name!r} binds TriggeredArtifact to multiple inputs, {artifacts}: there is one artifact."
            )
        if (artifacts or partitions) and not isinstance(self.automation, OnArtifact):
            raise ValueError(
                f"Trigger {self.name!r}: inputs {artifacts + partitions} are of an artifact, but its automation is "
                "not OnArtifact."
            )
        if times and not isinstance(self.automation, (Cron, FixedRate)):
            raise ValueError(
                f"Trigger {self.name!r}: inputs {times} are the time of a schedule, but its automation is neither Cron "
                "nor FixedRate."
            )

    @classmethod
    def minutely(cls, trigger_time_input_key: str | None = None, **options: Any) -> Trigger:
        """Every minute; see :meth:`daily`."""
        return cls._at("* * * * *", "minutely", "every minute", trigger_time_input_key, options)

    @classmethod
    def hourly(cls, trigger_time_input_key: str | None = None, **options: Any) -> Trigger:
        """Every hour; see :meth:`daily`."""
        return cls._at("0 * * * *", "hourly", "every hour", trigger_time_input_key, options)

    @classmethod
    def daily(cls, trigger_time_input_key: str | None = None, **options: Any) -> Trigger:
        """Every day at midnight, UTC.

        Args:
            trigger_time_input_key: The input that is given the time; a required ``trigger_time`` has it anyway.
            options: What a :class:`Trigger` takes, but for ``automation``.
        """
        return cls._at("0 0 * * *", "daily", "daily at midnight", trigger_time_input_key, options)

    @classmethod
    def weekly(cls, trigger_time_input_key: str | None = None, **options: Any) -> Trigger:
        """Sundays at midnight; see :meth:`daily`."""
        return cls._at(
            "0 0 * * 0", "weekly", "weekly on Sundays at midnight", trigger_time_input_key, options
        )

    @classmethod
    def monthly(cls, trigger_time_input_key: str | None = None, **options: Any) -> Trigger:
        """On the first day of each month at midnight; see :meth:`daily`."""
        return cls._at(
            "0 0 1 * *", "monthly", "monthly on the 1st at midnight", trigger_time_input_key, options
        )

    @classmethod
    def _at(cls, cron: str, name: str, when: str, time_input: str | None, options: dict[str, Any]) -> Trigger:
        if "automation" in options:
            raise TypeError(
                f"Trigger.{name}() has its own automation: use Trigger(name, automation) for another."
            )
        bound = {} if time_input is None else {time_input: TriggerTime}
        fields = {"name": name, "description": f"A trigger that runs {when}", **options}
        return cls(**{**fields, "automation": Cron(cron), "inputs": bound | (options.get("inputs") or {})})


def check_action_concurrency(owner: str, limit: int | None) -> None:
    """Refuse a limit of 1 (ValueError): a task that calls another one would wait for ever. Nor a negative one."""
    if limit is not None and (limit < 0 or limit == 1):
        raise ValueError(
            f"{owner}: max_action_concurrency must be 0, for no limit, or 2 and more, got {limit!r}: with 1 a task "
            "that calls another one would wait for ever."
        )
