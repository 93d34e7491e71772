"""What with_servecontext makes of an app, without serving it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

import flyteray as flyte
from flyteray._declare.loading import loads
from flyteray.app import AppEnvironment, Canary, Domain, Parameter, Shadow, Subdomain
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import ActivationTimeoutError, DeploymentError, ModuleLoadError
from flyteray.remote import App, AppPhase

backend = AppEnvironment(name="backend", args="serve", env_vars={"KEPT": "1"})
frontend = AppEnvironment(
    name="frontend",
    args="serve",
    depends_on=[backend],
    env_vars={"KEPT": "1", "CHANGED": "old"},
    parameters=[Parameter("model"), Parameter("rate", "0.5")],
    domain=Domain(subdomain=Subdomain.from_function(lambda _, at: f"front{at.project}")),
)
api = FastAPIAppEnvironment(name="api", app=FastAPI())
VALUES = {"frontend": {"model": "m"}}


def planned(**options: Any) -> Any:
    """The specs of the frontend and of what it depends on."""
    found: Any = flyte.with_servecontext(dry_run=True, parameter_values=VALUES, **options).serve(frontend)
    return found.plan


def test_a_dry_run_plans_the_app_after_those_that_it_depends_on() -> None:
    app: Any = flyte.with_servecontext(dry_run=True, parameter_values=VALUES).serve(frontend)

    assert [spec.name for spec in app.plan] == ["backend", "frontend"]
    assert isinstance(app, flyte.AppHandle)
    assert (app.name, app.is_active(), app.is_deactivated()) == ("frontend", False, True)
    assert (app.deployment_status, app.desired_state, app.revision) == (AppPhase.STOPPED, "stopped", 0)
    for refused in (app.activate, app.deactivate, app.wait, app.watch, app.show_logs):
        with pytest.raises(DeploymentError, match="planned only: serve it without dry_run"):
            refused()


def test_serve_without_a_context_is_serve_with_an_empty_one() -> None:
    assert flyte.with_servecontext() == flyte.with_servecontext(None)
    assert planned() == planned(log_format="console")


def test_values_of_parameters_take_the_place_of_those_declared() -> None:
    _, spec = planned()

    assert {parameter.name: parameter.value for parameter in spec.parameters} == {"model": "m", "rate": "0.5"}


@pytest.mark.parametrize("values", [["frontend"], {"frontend": "model"}], ids=str)
def test_values_of_parameters_are_by_app_and_name(values: Any) -> None:
    with pytest.raises(TypeError, match=r"must be \{app name: \{parameter name: value\}\}"):
        flyte.with_servecontext(dry_run=True, parameter_values=values).serve(frontend)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"other": {}}, "names 'other', but what is served is 'backend', 'frontend'"),
        ({"frontend": {"mode": "m"}}, "has no parameter 'mode'. It has: 'model', 'rate'"),
        ({"backend": {"model": "m"}}, "'backend' has no parameter 'model'. It has: none"),
        ({}, "Parameter 'model' of app 'frontend' has no value"),
    ],
)
def test_values_of_what_is_not_there_are_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flyte.with_servecontext(parameter_values=values).serve(frontend)


def test_options_reach_the_app_that_is_served_and_no_other_but_for_whose_it_is() -> None:
    other, spec = planned(
        version="v1",
        env_vars={"CHANGED": "new", "LOG_LEVEL": "5"},
        project="p",
        domain="d",
        log_level=10,
        log_format="json",
        user_log_level="INFO",
        raw_data_path="s3://bucket/raw",
        activate_timeout=7,
        health_check_path="/up",
    )

    assert spec.environment.env_vars == {
        "KEPT": "1",
        "CHANGED": "new",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
        "LOG_LEVEL": "5",
        "LOG_FORMAT": "json",
        "USER_LOG_LEVEL": "INFO",
        "_FLYTE_APP_RAW_DATA_PATH": "s3://bucket/raw",
    }
    assert (spec.version, spec.startup_timeout_s, spec.health_path) == ("v1", 7, "/up")
    assert spec.subdomain == "frontp"
    assert other.environment.env_vars == {
        "KEPT": "1",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
    }
    assert (other.version, other.health_path) == (None, "/health")
    assert frontend.env_vars == {"KEPT": "1", "CHANGED": "old"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "hybrid"}, ValueError, "'hybrid'"),
        ({"cluster": "a", "cluster_pool": "b"}, ValueError, "cluster or cluster_pool, not both"),
        ({"version": "a b"}, ValueError, "'a b' can't be a version's name"),
        ({"version": 1}, ValueError, "1 can't be a version's name"),
        ({"log_format": "xml"}, ValueError, "'xml'"),
        ({"env_vars": {"A": 1}}, TypeError, "must map str to str"),
        ({"copy_style": "some"}, ValueError, "'some'"),
        ({"copy_style": "custom"}, ValueError, "'custom'"),
        ({"copy_style": "none"}, ValueError, "Version is required"),
        ({"health_check_path": "up"}, ValueError, "must begin with"),
        ({"health_check_path": "/a b"}, ValueError, "as it is sent, .* got '/a b'"),
        ({"health_check_path": "/é"}, ValueError, "as it is sent, .* got '/é'"),
        ({"health_check_path": 3}, ValueError, "must begin with"),
        ({"activate_timeout": 0}, ValueError, "activate_timeout must be more than 0"),
        ({"deactivate_timeout": "6"}, TypeError, "deactivate_timeout must be a number"),
        ({"health_check_interval": True}, TypeError, "health_check_interval must be a number"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        flyte.with_servecontext(**options)


def test_on_a_cluster_only_programs_are_asked_for_a_path() -> None:
    context = flyte.with_servecontext(dry_run=True, health_check_path="/up?full=1")
    with pytest.warns(UserWarning, match="'api', which is no program: health_check_path has no meaning"):
        app: Any = context.serve(api)
    [spec] = app.plan
    assert spec.health_path == "/health"
    [locally] = flyte.with_servecontext("local", health_check_path="/up").plan(api)
    assert locally.spec.health_path == "/up"


@pytest.mark.parametrize(
    "option",
    [{"traffic": 5}, {"canary": Canary()}, {"shadow": Shadow()}],
    ids=lambda option: next(iter(option)),
)
def test_local_mode_says_that_it_shares_nothing(option: Any) -> None:
    with pytest.warns(
        UserWarning, match=f"{next(iter(option))} changes nothing, as local mode has one version"
    ):
        flyte.with_servecontext("local", dry_run=True, **option).serve(api)


@pytest.mark.parametrize(
    "other", [{"traffic": 5}, {"canary": Canary()}], ids=lambda option: next(iter(option))
)
def test_a_shadow_has_no_share_of_the_requests(other: Any) -> None:
    with pytest.raises(
        ValueError, match="say traffic, canary or shadow: nobody gets the answers of a Shadow"
    ):
        flyte.with_servecontext(shadow=Shadow(), **other)
    with pytest.raises(ValueError, match="deploy: say traffic, canary or shadow"):
        flyte.deploy(api, dry_run=True, shadow=Shadow(), **other)
    with pytest.raises(TypeError, match=r"shadow=\.\.\.\) must be a flyteray\.app\.Shadow, got 10"):
        flyte.with_servecontext(shadow=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["cluster", "cluster_pool"])
def test_what_means_nothing_on_ray_warns(option: str) -> None:
    options: Any = {option: "x"}
    with pytest.warns(UserWarning, match=f"with_servecontext: {option} has no meaning on Ray"):
        flyte.with_servecontext(**options)


def test_only_apps_are_served() -> None:
    task_env = flyte.TaskEnvironment(name="tasks")
    for wrong in (task_env, "frontend", None):
        with pytest.raises(TypeError, match="serves an AppEnvironment, not"):
            flyte.serve(wrong)  # type: ignore[arg-type]


def test_an_app_whose_module_serves_when_it_is_imported_is_told_so() -> None:
    with loads().loading():
        with pytest.raises(ModuleLoadError, match="__main__"):
            flyte.serve(frontend)
        with pytest.raises(ModuleLoadError, match=r"calls flyteray\.serve when its file is loaded"):
            asyncio.run(flyte.serve.aio(frontend))


def test_filters_and_orders_of_apps_are_checked_before_the_cluster_is_asked() -> None:
    with pytest.raises(ValueError, match="'running' is no status of an app"):
        App.listall(in_status="running")
    with pytest.raises(ValueError, match="sort_by must be one of"):
        App.listall(sort_by="size")
    with pytest.raises(ValueError, match="sort_by must be one of"):
        App.listall(sort_by=("name", "up"))  # type: ignore[arg-type]


def test_a_start_out_of_time_is_a_timeout_and_a_failed_deployment() -> None:
    error = ActivationTimeoutError("App 'x' failed to become active within 1 seconds.")

    assert isinstance(error, TimeoutError)
    assert isinstance(error, DeploymentError)
    assert str(error) == "App 'x' failed to become active within 1 seconds."
