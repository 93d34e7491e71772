"""What a run may be told besides how its code travels: what all of its tasks find, and what means nothing on Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flyteray._client.session.owner import without_projects
from flyteray._declare.env_vars import check_env_vars
from flyteray._declare.environment import not_yet, without_meaning
from flyteray._declare.options.trigger import check_action_concurrency
from flyteray._plan.spec import RunWide

_OWNER = "with_runcontext"
_WITHOUT_MEANING = (
    "service_account",
    "queue",
    "run_base_dir",
    "run_start_time",
    "labels",
    "annotations",
    "reset_root_logger",
    "preserve_original_types",
    "debug",
)
_SCOPES = ("global", "project-domain")
_LOCAL_ONLY = ("tracked", "tracked_strict")


def run_wide(options: Mapping[str, Any], mode: str | None) -> RunWide:
    """What all tasks of a run find, of options as ``with_runcontext`` takes them; what changes nothing is said.

    Raises:
        TypeError: an option of a wrong type.
        ValueError: a value that can't be.
    """
    _check(options, mode)
    _say(options, mode)
    levels = {
        "LOG_LEVEL": options["log_level"],
        "LOG_FORMAT": None if options["log_format"] == "console" else options["log_format"],
        "USER_LOG_LEVEL": options["user_log_level"],
    }
    said = {name: str(value) for name, value in levels.items() if value is not None}
    return RunWide(
        env_vars=said | (options["env_vars"] or {}),
        custom_context=options["custom_context"] or {},
        raw_data_path=options["raw_data_path"],
    )


def _check(options: Mapping[str, Any], mode: str | None) -> None:
    if options["env_vars"] is not None:
        try:
            check_env_vars(_OWNER, options["env_vars"])
        except TypeError as error:
            raise ValueError(str(error)) from None
    context = options["custom_context"]
    if context is not None and not (
        isinstance(context, Mapping)
        and all(isinstance(text, str) for pair in context.items() for text in pair)
    ):
        raise TypeError(f"{_OWNER}: custom_context must map str to str, got {context!r}.")
    if options["log_format"] not in ("console", "json"):
        raise ValueError(f'{_OWNER}: log_format must be "console" or "json", got {options["log_format"]!r}.')
    path = options["raw_data_path"]
    if path is not None and not isinstance(path, str):
        raise TypeError(f"{_OWNER}: raw_data_path must be a str, got {path!r}.")
    check_action_concurrency(_OWNER, options["max_action_concurrency"])
    if options["cache_lookup_scope"] not in _SCOPES:
        raise ValueError(
            f"{_OWNER}: cache_lookup_scope must be one of {', '.join(map(repr, _SCOPES))}, got "
            f"{options['cache_lookup_scope']!r}."
        )
    for option in _LOCAL_ONLY:
        if options[option] and mode != "local":
            raise ValueError(f'{_OWNER}: {option} is of local runs only: say mode="local" with it.')


def _say(options: Mapping[str, Any], mode: str | None) -> None:
    without_projects(_OWNER, options["project"], options["domain"])
    for option in _WITHOUT_MEANING:
        if options[option]:
            without_meaning(_OWNER, option)
    if options["max_action_concurrency"]:
        not_yet(
            _OWNER, "max_action_concurrency", "as many actions run at one time as the cluster has room for"
        )
    if options["notifications"]:
        not_yet(_OWNER, "notifications", "nobody is told")
    if any(options[option] for option in _LOCAL_ONLY):
        not_yet(_OWNER, "tracked", "a local run is kept while its handle is")
    if mode == "local":
        for option in ("env_vars", "raw_data_path"):
            if options[option]:
                not_yet(f'{_OWNER}(mode="local")', option, "tasks find what this process has")
