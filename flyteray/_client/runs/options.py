"""The options of a run: how it is asked for, checked when they are given."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from flyteray import _place
from flyteray._client.launch import LaunchContext
from flyteray._client.session.owner import owner, without_projects
from flyteray._declare import context
from flyteray._declare.env_vars import checked_env_vars
from flyteray._declare.environment import warn_user, without_meaning
from flyteray._declare.options.notification import Notification, check_notifications
from flyteray._declare.options.trigger import check_action_concurrency
from flyteray._logging import RESET, level
from flyteray._notify.messages import spec_of
from flyteray._plan.bundle.shipping import PLAIN_NAME, SHIPPING
from flyteray._plan.spec import Caching, RunSpec, RunWide, TaskSpec
from flyteray._plan.tasks import with_env_vars

_OWNER = "with_runcontext"
_WITHOUT_MEANING = (
    "service_account",
    "queue",
    "run_base_dir",
    "annotations",
    "preserve_original_types",
    "debug",
)
_SCOPES = ("global", "project-domain")
_LOCAL_ONLY = ("tracked", "tracked_strict")


@dataclass(frozen=True, kw_only=True)
class RunOptions(LaunchContext):
    """How to run a task; ``RunContext`` explains what the options mean."""

    name: str | None = None
    service_account: str | None = None
    run_base_dir: str | None = None
    run_start_time: datetime | None = None
    overwrite_cache: bool = False
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    interruptible: bool | None = None
    reset_root_logger: bool = False
    disable_run_cache: bool = False
    queue: str | None = None
    max_action_concurrency: int | None = None
    notifications: Notification | Sequence[Notification] | None = None
    custom_context: dict[str, str] | None = None
    cache_lookup_scope: Literal["global", "project-domain"] = "global"
    preserve_original_types: bool = False
    debug: bool = False
    tracked: bool = False
    tracked_strict: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and not (isinstance(self.name, str) and PLAIN_NAME.fullmatch(self.name)):
            raise ValueError(
                f"{self.name!r} can't be a run's name: use at most 63 letters, digits, '.', '_' and '-', a letter or "
                "digit first."
            )
        self._check()
        self._warn()

    def spec(self, name: str, task: TaskSpec) -> RunSpec:
        """A run of a task as the options say."""
        wide = self.wide
        return RunSpec(
            name=name,
            task=with_env_vars(task, wide.env_vars),
            owner=owner(),
            labels=self.labels or {},
            wide=wide,
            notifications=tuple(map(spec_of, self._notified())),
        )

    @property
    def _caching(self) -> Caching:
        own = self.cache_lookup_scope == "project-domain"
        return Caching(self.disable_run_cache, self.overwrite_cache, own)

    def _name(self) -> str:
        return self.name or f"r{uuid.uuid4().hex[:12]}"

    def _notified(self) -> tuple[Notification, ...]:
        return check_notifications(_OWNER, self.notifications)

    def _wide_now(self) -> RunWide:
        """As :attr:`wide`, for a run that is asked for now."""
        said = self.run_start_time or datetime.now(timezone.utc)
        start = said if said.tzinfo else said.replace(tzinfo=timezone.utc)
        return self.wide.model_copy(update={"start_time": start.astimezone(timezone.utc)})

    @property
    def wide(self) -> RunWide:
        """The variables, the context and the folder that all tasks of the run find."""
        return RunWide(
            env_vars=self._log_variables() | self._reset | (self.env_vars or {}),
            custom_context=self.custom_context or {},
            raw_data_path=_place.root(self.raw_data_path) if self.raw_data_path else None,
            caching=self._caching,
            max_action_concurrency=self.max_action_concurrency or 0,
        )

    @property
    def _reset(self) -> dict[str, str]:
        return {RESET: "1"} if self.reset_root_logger else {}

    def _asked(self, name: str, task: TaskSpec) -> RunSpec:
        """A run that is asked for here, in whose custom context is also that around here."""
        spec = self.spec(name, task)
        around = {**context.custom.get(), **spec.wide.custom_context}
        wide = self._wide_now().model_copy(update={"custom_context": around})
        return spec.model_copy(update={"request": uuid.uuid4().hex, "wide": wide})

    def check_deployed(self, task: str) -> None:
        """Raise ValueError for local mode and for options of shipping: a deployed task's code was shipped before."""
        if self._shipping() != SHIPPING:
            raise ValueError(
                f"The code of {task!r} is that which was deployed, so nothing can be said of how to ship it (version, "
                'copy_style, root_dir, ...). A version is named in remote.Task.get(name, version="..."), and as '
                "`flyteray run deployed-task NAME:VERSION`."
            )
        if self.is_local:
            raise ValueError(
                f"Deployed task {task!r} runs on its cluster only: its code is there. Import the task to run it in "
                "local mode."
            )

    def _check(self) -> None:
        if self.env_vars is not None:
            try:
                object.__setattr__(self, "env_vars", checked_env_vars(_OWNER, self.env_vars))
            except TypeError as error:
                raise ValueError(str(error)) from None
        for option in ("custom_context", "labels"):
            texts = getattr(self, option)
            if texts is not None and not (
                isinstance(texts, Mapping)
                and all(isinstance(text, str) for pair in texts.items() for text in pair)
            ):
                raise TypeError(f"{_OWNER}: {option} must map str to str, got {texts!r}.")
        if self.log_format not in ("console", "json"):
            raise ValueError(f'{_OWNER}: log_format must be "console" or "json", got {self.log_format!r}.')
        path = self.raw_data_path
        if path is not None and not isinstance(path, str):
            raise TypeError(f"{_OWNER}: raw_data_path must be a str, got {path!r}.")
        if path:
            _place.root(path)
        if self.run_start_time is not None and not isinstance(self.run_start_time, datetime):
            raise TypeError(f"{_OWNER}: run_start_time must be a datetime, got {self.run_start_time!r}.")
        for option in ("log_level", "user_log_level"):
            if getattr(self, option) is not None:
                level(f"{_OWNER}: {option}", getattr(self, option))
        check_action_concurrency(_OWNER, self.max_action_concurrency)
        check_notifications(_OWNER, self.notifications)
        if self.cache_lookup_scope not in _SCOPES:
            raise ValueError(
                f"{_OWNER}: cache_lookup_scope must be one of {', '.join(map(repr, _SCOPES))}, got "
                f"{self.cache_lookup_scope!r}."
            )
        for option in _LOCAL_ONLY:
            if getattr(self, option) and self.mode != "local":
                raise ValueError(f'{_OWNER}: {option} is of local runs only: say mode="local" with it.')

    def _warn(self) -> None:
        without_projects(_OWNER, self.project, self.domain)
        for option in _WITHOUT_MEANING:
            if getattr(self, option):
                without_meaning(_OWNER, option)
        if any(getattr(self, option) for option in _LOCAL_ONLY):
            warn_user(
                f"{_OWNER}: tracked changes nothing: the handle of a local run has its history, and no file. Runs on a "
                "cluster are recorded, also on the local one, as without mode='local'."
            )
