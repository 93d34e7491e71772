"""``flyteray.serve`` brings an app up, on the cluster or beside this process."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flyteray import _place
from flyteray._client.apps.app import App
from flyteray._client.apps.handle import AppHandle
from flyteray._client.apps.versions import refuse_failed
from flyteray._client.bridge import MethodVerb, Verb, not_while_loading, warn_caller
from flyteray._client.credentials.caller_secrets import take_secrets
from flyteray._client.launch import LaunchContext
from flyteray._client.local.app import Patience
from flyteray._client.plan import AppPlan, PlannedApp
from flyteray._client.session.owner import owner_variables
from flyteray._client.session.session import session
from flyteray._declare import context
from flyteray._declare.env_vars import checked_env_vars
from flyteray._declare.environment import warn_user, without_meaning
from flyteray._declare.near import did_you_mean
from flyteray._declare.options.shares import checked_share
from flyteray._plan import apps
from flyteray._plan.bundle import code
from flyteray._plan.info import AskedVersion
from flyteray._plan.spec import AppSpec
from flyteray._plan.traffic.canary import CanarySpec
from flyteray._plan.traffic.shadow import ShadowSpec
from flyteray._settings import DOMAIN, PROJECT
from flyteray.app.canary import Canary
from flyteray.app.environment import AppEnvironment
from flyteray.app.shadow import Shadow

T = TypeVar("T")

# For replicas to get a process; each then has its own time to start in, and says why it did not.
_PLACED_S = 15.0
_PATH = re.compile("/[!-~]*")  # as it is sent
_SECONDS = ("deactivate_timeout", "activate_timeout", "health_check_timeout", "health_check_interval")


@dataclass(frozen=True, kw_only=True)
class ServeContext(LaunchContext):
    """How to serve, said before serving: ``with_servecontext(mode="local").serve(app)``.

    Versions, variables and time limits are for the app that is served; those that it depends on are served as they
    are declared.

    Args:
        mode: ``"remote"`` on the cluster, where it stays up; ``"local"`` in a process beside this one, without Ray,
            which ends with this one. Default: remote, and inside a local run or a local app local.
        version: The name of the version. Default: a hash of what it is.
        copy_style: Which code travels; see :class:`flyteray._plan.bundle.shipping.Shipping`.
        root_dir: The folder that the bundle of code mirrors.
        dry_run: Plan and serve nothing: the handle is inactive, its ``plan`` is what would have been served.
        project, domain: What the app's context names so, and those of the apps that it depends on (Ray has none).
            Default: those of :func:`flyteray.init`.
        env_vars: Environment variables of the app, besides those declared and before them.
        parameter_values: Values of parameters in place of those declared: ``{app name: {parameter name: value}}``. In
            local mode one of type ``"object"`` takes any Python value that can be pickled, such as a stand-in for a
            model.
        traffic: Percent of the requests for the new version, where one serves already, which has the rest;
            :meth:`flyteray.remote.App.set_traffic` changes it. With 0 it takes only requests that name it; see there.
            Default: all, as soon as it is ready.
        canary: How it takes over by and by, where one serves already: see :class:`flyteray.app.Canary`.
        shadow: How it gets copies of requests, while another one serves: see :class:`flyteray.app.Shadow`.
        cluster_pool, cluster: Of Union: they mean nothing on Ray, and say so.
        log_level: ``LOG_LEVEL`` of the app.
        log_format: ``LOG_FORMAT`` of the app, unless it is ``"console"``.
        user_log_level: ``USER_LOG_LEVEL`` of the app.
        interactive_mode: Whether the app is shipped pickled; where nothing else can work by default.
        copy_bundle_to: A folder to put a copy of the bundle in.
        deactivate_timeout: Seconds for the app to stop in; then it is killed in local mode (6), and waiting for it ends
            on a cluster (no limit).
        activate_timeout: Seconds for the app to start in, with import and downloads, and on a cluster that grows with
            what a new node takes: 60 in local mode, 300 on a cluster. A version that is not ready by then is ended
            where another one serves, which goes on.
        health_check_timeout: Seconds for an answer, in local mode (2). On a cluster replicas tell of themselves.
        health_check_interval: Seconds from one question to the next, in local mode (1).
        health_check_path: What is asked for (``"/health"``): any answer below 500 is a good one. On a cluster only
            commands are asked. What has a port of name ``"h2c"`` is asked by gRPC's health protocol instead.
        raw_data_path: ``flyteray.app.ctx().raw_data_path`` of the app, where the files go that it makes. Default: a
            folder of its own in the storage, which outlives the app.

    Raises:
        ValueError: another mode or copy style, a bad version, ``cluster`` beside ``cluster_pool``, a path that can't
            be asked for, a time that is not positive, or a share that is no percent.
        TypeError: an option of a wrong type.
    """

    parameter_values: Mapping[str, Mapping[str, Any]] | None = None
    traffic: int = 100
    canary: Canary | None = None
    shadow: Shadow | None = None
    cluster_pool: str | None = None
    cluster: str | None = None
    deactivate_timeout: float | None = None
    activate_timeout: float | None = None
    health_check_timeout: float | None = None
    health_check_interval: float | None = None
    health_check_path: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rollout("with_servecontext", self.traffic, self.canary, self.shadow)
        if self.cluster is not None and self.cluster_pool is not None:
            raise ValueError("with_servecontext: say cluster or cluster_pool, not both.")
        if self.log_format not in ("console", "json"):
            raise ValueError(f'log_format must be "console" or "json", not {self.log_format!r}.')
        if self.env_vars is not None:
            object.__setattr__(self, "env_vars", checked_env_vars("with_servecontext", self.env_vars))
        path = self.health_check_path
        if path is not None and not (isinstance(path, str) and _PATH.fullmatch(path)):
            raise ValueError(
                'health_check_path must begin with "/" and be written as it is sent, such as %20 for a space, '
                f"got {path!r}."
            )
        for option in _SECONDS:
            seconds = getattr(self, option)
            if seconds is None:
                continue
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
                raise TypeError(f"{option} must be a number of seconds, got {seconds!r}.")
            if seconds <= 0:
                raise ValueError(f"{option} must be more than 0 seconds, got {seconds!r}.")
        for option in ("cluster_pool", "cluster"):
            if getattr(self, option) is not None:
                without_meaning("with_servecontext", option)

    @MethodVerb
    @not_while_loading("flyteray.serve")
    async def serve(self, app_env: AppEnvironment) -> AppHandle:
        """Bring an app up; see :func:`flyteray.serve`."""
        planned = await asyncio.to_thread(self.plan, app_env)  # it reads files: not on an app's loop
        if self.is_local:
            self._warn_of_shares()
        else:
            self._warn_of_health_checks(app_env)
        if self.health_check_path is not None and app_env.declared_port.name == "h2c":
            without_meaning(
                f'with_servecontext of {app_env.name!r}, whose port is "h2c"', "health_check_path"
            )
        if self.dry_run:
            return PlannedApp(planned)
        if self.is_local:
            # Deferred: only local mode pays for it.
            from flyteray._client.local.serve import local_apps

            settings = session().settings
            return await local_apps(settings.home).serve(planned, settings, self._patience())
        await warn_of_unknown_apps([each.spec for each in planned])
        await take_secrets([each.spec.environment for each in planned], lambda: code.reached(app_env))
        for each in planned:
            await session().upload(each.bundle)
            asked = await self._rollout(each.spec, asked_for=each.spec.name == app_env.name)
            served = App(
                asked.app,
                activate_timeout=each.spec.startup_timeout_s + _PLACED_S,
                deactivate_timeout=self.deactivate_timeout,
            )
            await served.wait.aio()
        if self.traffic < 100 or self.canary or self.shadow:
            for version in await served.versions.aio():
                refuse_failed(served.name, version, {asked.version})
        return served

    async def _rollout(self, spec: AppSpec, asked_for: bool) -> AskedVersion:
        if not asked_for:
            return await session().serve(spec)
        canary = CanarySpec.of(self.canary) if self.canary else None
        shadow = ShadowSpec.of(self.shadow) if self.shadow else None
        return await session().serve(spec, self.traffic, canary, shadow)

    def plan(self, app_env: AppEnvironment) -> Sequence[AppPlan]:
        """The plans of an app and of those that it depends on, each after those it needs.

        Raises:
            TypeError: not an app environment, or a parameter value of a wrong type.
            ValueError: apps that depend on one another in a circle, or values for apps or parameters there are not.
        """
        if not isinstance(app_env, AppEnvironment):
            raise TypeError(
                f"flyteray.serve serves an AppEnvironment, not {app_env!r}. To run a task, use flyteray.run."
            )
        ordered = apps.in_order(app_env)
        values = self.parameter_values or {}
        if not isinstance(values, Mapping) or not all(isinstance(each, Mapping) for each in values.values()):
            raise TypeError(
                f"parameter_values must be {{app name: {{parameter name: value}}}}, got {values!r}."
            )
        if unknown := [name for name in values if all(env.name != name for env in ordered)]:
            served = [env.name for env in ordered]
            raise ValueError(
                f"parameter_values names {', '.join(map(repr, unknown))}, but what is served is "
                f"{', '.join(map(repr, served))}.{did_you_mean(unknown[0], served)}"
            )
        return [self._plan_app(env, values.get(env.name), env is app_env) for env in ordered]

    def _plan_app(self, env: AppEnvironment, values: Mapping[str, Any] | None, asked_for: bool) -> AppPlan:
        ref, bundle = code.ship(env, session().shipping(self._shipping()))
        values = values or {}
        objects = apps.objects(env, values)
        variables = {PROJECT: self.project, DOMAIN: self.domain}
        update: dict[str, Any] = {}
        if asked_for:
            variables |= {
                context.RAW_DATA_PATH: self.raw_data_path and _place.root(str(self.raw_data_path)),
                **self._log_variables(),
                **(self.env_vars or {}),
            }
            update = {
                "version": self.version,
                "health_path": self.health_check_path if self.is_local or env.kind == "command" else None,
                "startup_timeout_s": self.activate_timeout,
            }
        changed = copy.copy(env)  # it is the declared one that the code names
        changed.env_vars = {**(env.env_vars or {}), **_without_none(variables)}
        spec = apps.app_spec(changed, ref, values, takes_objects=self.is_local, variables=owner_variables())
        return AppPlan(spec.model_copy(update=_without_none(update)), bundle, objects)

    def _warn_of_shares(self) -> None:
        given = {
            "traffic": self.traffic < 100,
            "canary": self.canary is not None,
            "shadow": self.shadow is not None,
        }
        for option, is_given in given.items():
            if is_given:
                warn_user(
                    f'with_servecontext(mode="local"): {option} changes nothing, as local mode has one version of an '
                    "app at a time."
                )

    def _warn_of_health_checks(self, env: AppEnvironment) -> None:
        for option in ("health_check_timeout", "health_check_interval"):
            if getattr(self, option) is not None:
                without_meaning('with_servecontext(mode="remote")', option)
        if self.health_check_path is not None and env.kind != "command":
            without_meaning(
                f'with_servecontext(mode="remote") of {env.name!r}, which is no program', "health_check_path"
            )

    def _patience(self) -> Patience:
        return Patience(**_without_none({option: getattr(self, option) for option in _SECONDS}))


with_servecontext = ServeContext


@Verb
async def serve(app_env: AppEnvironment) -> AppHandle:
    """Bring an app up and return its handle when it serves; it stays up when this process ends.

    Apps that it depends on come first. Serving unchanged code (that of the modules it imports) again restarts nothing;
    a changed version takes over when all of its replicas are ready, and no request is lost: those that are open on the
    old version end there. Inside a local run or app it is served in local mode: see :class:`ServeContext`, which has
    all options. flyteray has a Ray Serve for itself, which ``serve.run`` and ``serve.shutdown`` of yours don't touch.

    Args:
        app_env: What to serve.

    Raises:
        TypeError: not an app environment.
        DeploymentError: a replica could not start; the end of its log is in the message, the user's exception is the
            cause. The version that served before goes on serving.
        ParameterMaterializationError: an output that a parameter names does not exist.
        PlacementError: no node of the cluster, and none that its autoscaler may add, can ever take a replica.
        SecretNotFoundError: it asks for a secret that does not exist.
    """
    return await ServeContext().serve.aio(app_env)


async def warn_of_unknown_apps(specs: Sequence[AppSpec]) -> None:
    """Warn of parameters that name an app which is neither on the cluster nor among ``specs``.

    It is no error: apps that call one another are served one after the other.
    """
    wanted = [
        (spec.name, parameter.name, parameter.value)
        for spec in specs
        for parameter in spec.parameters
        if parameter.kind == "app_endpoint" and parameter.value and "://" not in parameter.value
    ]
    if not wanted:
        return
    served = await session().controller.apps.listall()
    known = {info.name for info in served} | {spec.name for spec in specs}
    for app, parameter, callee in wanted:
        if callee not in known:
            warn_caller(
                f"Parameter {parameter!r} of app {app!r} is the endpoint of {callee!r}, and there is no such app yet: "
                f"its URL answers 404 until there is.{did_you_mean(callee, known - {app})}"
            )


def check_rollout(verb: str, traffic: int, canary: Canary | None, shadow: Shadow | None) -> None:
    """Raise TypeError or ValueError where it isn't said, or twice, what share of the requests a version has."""
    checked_share(traffic, f"{verb}(traffic=...)")
    if canary is not None and not isinstance(canary, Canary):
        raise TypeError(f"{verb}(canary=...) must be a flyteray.app.Canary, got {canary!r}.")
    if canary is not None and traffic != 100:
        raise ValueError(f"{verb}: say traffic or canary, not both: a Canary has shares of its own.")
    if shadow is not None and not isinstance(shadow, Shadow):
        raise TypeError(f"{verb}(shadow=...) must be a flyteray.app.Shadow, got {shadow!r}.")
    if shadow is not None and (traffic != 100 or canary is not None):
        raise ValueError(
            f"{verb}: say traffic, canary or shadow: nobody gets the answers of a Shadow, so it has no share."
        )


def _without_none(values: Mapping[str, T | None]) -> dict[str, T]:
    return {name: value for name, value in values.items() if value is not None}
