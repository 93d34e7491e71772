"""Options tell a task more than its environment does, when it is declared and when it is called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypedDict, cast

from flyteray._declare.env_vars import checked_env_vars
from flyteray._declare.environment import without_meaning
from flyteray._declare.near import did_you_mean
from flyteray._declare.options.cache import CacheRequest, cache_of
from flyteray._declare.options.documentation import Documentation, Link
from flyteray._declare.options.pod import PodTemplate
from flyteray._declare.options.reuse import ReusePolicy
from flyteray._declare.options.timeout import TimeoutType, timeout_of
from flyteray._declare.options.trigger import Trigger
from flyteray._declare.resources import Resources
from flyteray._declare.secret import SecretRequest, as_secrets
from flyteray._declare.tasks.retry import RetryStrategy

MAX_INLINE_IO_BYTES = 10 << 20
"""The most that inputs and outputs may be together in Flyte."""

_FIXED = ("name", "image", "docs", "interface")
_OF_THE_PROCESS = ("resources", "env_vars", "secrets", "service_account")
_OFF = "off"


class TaskOptions(TypedDict, total=False):
    """The keywords of ``@env.task(...)``.

    Keys:
        short_name: A name for people; the function's name by default.
        cache: Which results are reused; the environment's by default.
        retries: Attempts after the first one, or a :class:`RetryStrategy`. Default: 0.
        timeout: How long it may take: seconds, a timedelta or a :class:`Timeout`. 0: as long as it takes.
        docs: What it does: a text, or :class:`Documentation`; the function's docstring by default.
        report: Whether what it logs by :mod:`flyteray.report` is kept.
        interruptible: May run on nodes that can vanish. Ray knows no such nodes, so this changes nothing.
        max_inline_io_bytes: Inputs and outputs know no such limit on Ray; says so where another one is given.
        triggers: What starts runs of it, or a tuple of them; see :class:`Trigger`.
        links: Shown with its actions, one or a tuple; see :class:`Link`.
        entrypoint: A hint for people that runs begin with it.
        produces_artifacts: Whether outputs that :func:`flyteray.artifacts.new` has made are kept as artifacts; in local
            mode none is.
        task_resolver, pod_template, service_account, queue: Of Flyte and Kubernetes: mean nothing on Ray, and say so.
    """

    short_name: str | None
    cache: CacheRequest | None
    retries: int | RetryStrategy | None
    timeout: TimeoutType | None
    docs: str | Documentation | None
    report: bool
    interruptible: bool | None
    max_inline_io_bytes: int
    triggers: tuple[Trigger, ...] | Trigger
    links: tuple[Link, ...] | Link
    entrypoint: bool
    produces_artifacts: bool
    task_resolver: Any
    pod_template: str | PodTemplate | None
    service_account: str | None
    queue: str | None


class Overrides(TypedDict, total=False):
    """The keywords of ``task.override(...)``; a setting that is not given, or None, stays as it is.

    Keys:
        short_name: A name for people.
        retries: Attempts after the first one; 0 means none.
        resources: Hardware for this call alone.
        env_vars: Environment variables in place of the environment's (not merged with them).
        secrets: Secrets in place of the environment's.
        cache, timeout: As of a task, and so are the others of its names; a timeout of 0 means no limit.
        reusable: Another :class:`ReusePolicy`, or ``"off"`` for none. Where there is one, what the processes are
            started with can't be overridden.
        plugin_config: None can be given: there are no plugins.
    """

    short_name: str | None
    retries: int | RetryStrategy | None
    resources: Resources | None
    env_vars: dict[str, str] | None
    secrets: SecretRequest | None
    cache: CacheRequest | None
    timeout: TimeoutType | None
    reusable: ReusePolicy | Literal["off"] | None
    interruptible: bool | None
    max_inline_io_bytes: int | None
    links: tuple[Link, ...] | Link
    entrypoint: bool | None
    produces_artifacts: bool | None
    pod_template: str | PodTemplate | None
    service_account: str | None
    queue: str | None
    plugin_config: Any


def checked_options(owner: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``@env.task``, each as the task keeps it; what changes nothing is said.

    ValueError: bad retries, timeout or cache, two triggers of one name. TypeError: another value of a wrong type.
    """
    values = {
        "retries": RetryStrategy.of(options.get("retries")),
        "timeout": options.get("timeout"),
        "report": options.get("report", False),
        "max_inline_io_bytes": options.get("max_inline_io_bytes") or MAX_INLINE_IO_BYTES,
        "triggers": _listed(owner, "triggers", options.get("triggers"), Trigger),
        "links": _listed(owner, "links", options.get("links")),
        "entrypoint": options.get("entrypoint", False),
        "produces_artifacts": options.get("produces_artifacts", False),
        "task_resolver": options.get("task_resolver"),
    }
    if values["timeout"] is None:
        values["timeout"] = 0
    if options.get("cache") is not None:
        values["cache"] = cache_of(options["cache"])
    _check(owner, {**options, **values})
    names = [trigger.name for trigger in values["triggers"]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{owner}: it has two triggers {twice[0]!r}; their names tell its triggers apart.")
    _say(owner, {**options, **values})
    return values


def checked_overrides(
    changes: Mapping[str, Any],
    settings: Collection[str] = Overrides.__annotations__.keys(),
    reusable: object | None = None,
) -> Overrides:
    """The changes of an override, each as the task keeps it, nothing that is None; what changes nothing is said.

    ValueError: ``name``, ``image``, ``docs`` and ``interface`` cannot be overridden; nor what a process is started with
    where ``reusable``, the policy in force, is set. TypeError: not in ``settings``, or a value of a wrong type.
    """
    for key in changes:
        if key in _FIXED:
            raise ValueError(f"{key.capitalize()} cannot be overridden.")
        if key not in settings:
            raise TypeError(
                f"override() got an unexpected keyword argument {key!r}. Known are: {', '.join(settings)}."
                f"{did_you_mean(key, settings)}"
            )
    given = {key: value for key, value in changes.items() if value is not None}
    if not isinstance(given.get("resources", Resources()), Resources):
        raise TypeError(f"override(): resources must be a Resources, got {given['resources']!r}.")
    if "env_vars" in given:
        given["env_vars"] = checked_env_vars("override()", given["env_vars"])
    if "secrets" in given:
        as_secrets("override()", given["secrets"])
    if "retries" in given:
        given["retries"] = RetryStrategy.of(given["retries"])
    if "cache" in given:
        given["cache"] = cache_of(given["cache"])
    if "links" in given:
        given["links"] = _listed("override()", "links", given["links"])
    _check("override()", given)
    _check_reuse(given, reusable)
    if given.get("reusable") == _OFF:
        given["reusable"] = None
    _say("override()", given)
    return cast("Overrides", given)


def check_plugin(owner: str, config: object) -> None:
    """Refuse the settings of a plugin, of which there are none (ValueError)."""
    if config is not None:
        raise ValueError(
            f"{owner}: no task plugin is registered for plugin_config of type {type(config).__qualname__!r}: flyteray "
            "has no plugins. Leave it out, and use what it configures inside the task: Ray is there already, see the "
            "examples with Ray Data, Ray Train and Ray Tune; other systems are called by their own clients."
        )


def _check(owner: str, given: Mapping[str, Any]) -> None:
    timeout_of(given.get("timeout"))
    for option in ("report", "entrypoint", "produces_artifacts", "interruptible"):
        if not isinstance(given.get(option), (bool, type(None))):
            raise TypeError(f"{owner}: {option} must be a bool, got {given[option]!r}.")
    for option in ("short_name", "service_account", "queue"):
        if not isinstance(given.get(option), (str, type(None))):
            raise TypeError(f"{owner}: {option} must be a str, got {given[option]!r}.")
    for option, kinds in (("docs", str), ("pod_template", (str, PodTemplate))):
        if not isinstance(given.get(option), (kinds, type(None))):
            raise TypeError(f"{owner}: {option} can't be {given[option]!r}: it is of another type.")
    limit = given.get("max_inline_io_bytes")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise TypeError(f"{owner}: max_inline_io_bytes must be an int, got {limit!r}.")
    check_plugin(owner, given.get("plugin_config"))


def _check_reuse(given: Mapping[str, Any], reusable: object | None) -> None:
    asked = given.get("reusable")
    if asked is not None and asked != _OFF and not isinstance(asked, ReusePolicy):
        raise TypeError(f'override(): reusable must be a ReusePolicy or "off", got {asked!r}.')
    if asked == _OFF or (asked is None and reusable is None):
        return
    if fixed := [option for option in _OF_THE_PROCESS if option in given]:
        raise ValueError(
            f"Cannot override {', '.join(fixed)} when reusable is set: the processes have those of the environment. "
            'Say reusable="off" with it.'
        )


def _listed(owner: str, option: str, given: Any, kind: type | None = None) -> tuple[Any, ...]:
    several = tuple(given) if isinstance(given, (list, tuple)) else () if given is None else (given,)
    for each in several:
        if kind is not None and not isinstance(each, kind):
            raise TypeError(f"{owner}: {option} must be {kind.__name__} objects, got {each!r}.")
    return several


def _say(owner: str, given: Mapping[str, Any]) -> None:
    """Say which options change nothing: on Ray, or for now."""
    if given.get("max_inline_io_bytes") not in (None, MAX_INLINE_IO_BYTES):
        without_meaning(owner, "max_inline_io_bytes")
    for option in ("task_resolver", "pod_template", "service_account", "queue"):
        if given.get(option) is not None:
            without_meaning(owner, option)
