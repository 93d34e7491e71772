"""Triggers start runs of a task by themselves: on schedules and on new artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from flyteray._declare.options.documentation import shortened

_FIELDS_OF_CRON = 5


@dataclass(frozen=True)
class Cron:
    """A schedule by the clock.

    Args:
        expression: Minute, hour, day of the month, month and day of the week: ``"0 6 * * 1"`` is Mondays at six.
            ``@daily`` and the like are understood.
        timezone: Whose clock: a name such as ``"Europe/London"``.

    Raises:
        ValueError: Another number of fields, or no such zone.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        fields = self.expression.split() if isinstance(self.expression, str) else []
        if len(fields) != _FIELDS_OF_CRON and not (len(fields) == 1 and fields[0].startswith("@")):
            raise ValueError(
                f'A Cron needs five fields, minute hour day month weekday, as in "0 6 * * 1", got {self.expression!r}.'
            )
        if self.timezone == "UTC":
            return  # also where the system has no list of zones
        try:
            ZoneInfo(self.timezone)
        except (LookupError, ValueError, TypeError, OSError) as error:
            raise ValueError(
                f'Cron: there is no time zone {self.timezone!r}. Give a name such as "UTC" or "Europe/London".'
            ) from error

    @property
    def timezone_expression(self) -> str:
        """The expression with its zone before it."""
        return f"CRON_TZ={self.timezone} {self.expression}"

    def __str__(self) -> str:
        return f"Cron Trigger: {self.timezone_expression}"


@dataclass(frozen=True)
class FixedRate:
    """A schedule of equal intervals.

    Args:
        interval_minutes: From one run to the next.
        start_time: When the first one starts. Default: one interval after the deployment.

    Raises:
        ValueError: The interval is no whole number of minutes, or negative.
    """

    interval_minutes: int
    start_time: datetime | None = None

    def __post_init__(self) -> None:
        minutes = self.interval_minutes
        if isinstance(minutes, bool) or not isinstance(minutes, int) or minutes < 0:
            raise ValueError(f"FixedRate interval_minutes must be an int of 0 or more, got {minutes!r}.")

    def __str__(self) -> str:
        return f"FixedRate Trigger: every {self.interval_minutes} minutes"


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
    """As an input of a trigger: a partition's value of the artifact that fired it; ValueError for an empty key."""

    key: str

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("TriggeredPartition needs the key of a partition, got an empty one.")


@dataclass(frozen=True)
class Trigger:
    """A start of a task's runs by itself, and their inputs; given to ``@env.task(triggers=...)``.

    Nothing fires for now: deploying a task with one that is to be active is refused.

    Args:
        name: Tells the triggers of a task apart.
        automation: :class:`Cron`, :class:`FixedRate` or :class:`OnArtifact`; None: it is fired by hand.
        description: For people; more than 255 characters are cut off.
        auto_activate: Whether it is active once deployed.
        inputs: Inputs of the runs; :data:`TriggerTime` stands for the time of the schedule.
        env_vars: Environment variables of the runs.
        interruptible: As of a task.
        overwrite_cache: Whether the runs compute anew.
        queue: Of Flyte's scheduler.
        max_action_concurrency: Actions of a run at one time: 0 for no limit, or 2 and more.
        labels, annotations: Of Kubernetes.
        notifications: Who is told of the runs.
        custom_context: What the tasks of the runs find in their context.

    Raises:
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
    notifications: Any = field(default=None)
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
            trigger_time_input_key: The input that is given the time.
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
