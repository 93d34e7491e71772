from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from flyteray import Environment, TaskEnvironment
from flyteray._client.session.session import Session
from flyteray._declare.this_cluster import Cluster, this_process
from flyteray.app import AppContext, AppEnvironment, Link, Parameter, Port, Scaling, Subdomain, Timeouts, ctx
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import InitializationError


@pytest.mark.parametrize("name", ["api", "my-app", "a--b", "3d", "a"])
def test_names_are_parts_of_an_address(name: str) -> None:
    assert AppEnvironment(name).name == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "a.b", "-a", "a-", "a\n"], ids=repr)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name for an app"):
        AppEnvironment(name)


@pytest.mark.parametrize("port", [8012, 8022, 8112, 9090, 9091])
def test_reserved_ports_are_refused_with_the_list(port: int) -> None:
    with pytest.raises(ValueError, match=r"reserved.*8012, 8022, 8112, 9090, 9091"):
        AppEnvironment("api", port=port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_impossible_ports_are_refused(port: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 65535"):
        AppEnvironment("api", port=port)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", "80"),
        ("port", True),
        ("scaling", 2),
        ("parameters", ["p"]),
        ("parameters", "p"),
        ("requires_auth", "no"),
        ("type", 3),
        ("resources", "2Gi"),
        ("args", 3),
        ("command", ["a", 3]),
        ("domain", "shop"),
        ("links", ["/docs"]),
        ("timeouts", 30),
        ("secrets", 3),
        ("include", "data"),
        ("include", (3,)),
        ("image", 3),
    ],
    ids=str,
)
def test_fields_of_a_wrong_type_are_refused(field: str, value: Any) -> None:
    with pytest.raises(TypeError):
        AppEnvironment("api", **{field: value})


def test_a_port_is_an_int_or_a_port() -> None:
    assert AppEnvironment("api").port == Port(8080)
    assert AppEnvironment("api", port=4000).get_port() == Port(4000)
    assert AppEnvironment("api", port=Port(4000, "http1")).port.name == "http1"


def test_in_a_replica_the_port_is_the_one_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppEnvironment("api", port=4000)

    monkeypatch.setenv("FLYTERAY_REPLICA_PORT", "31234")

    assert app.port.port == app.get_port().port == 31234
    assert app.declared_port == Port(4000)


def test_a_clone_made_in_a_replica_declares_the_port_that_was_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = AppEnvironment(name="shop", port=8081)
    monkeypatch.setenv("FLYTERAY_REPLICA_PORT", "31234")

    assert (
        env.clone_with("twin").declared_port == env.clone_with("twin", port=None).declared_port == Port(8081)
    )
    assert env.clone_with("twin", port=8082).declared_port == Port(8082)


def test_a_function_wins_over_a_command_and_a_command_over_args() -> None:
    app = AppEnvironment("api", command="serve --port 8080", args=["other"])
    assert (app.kind, app.words()) == ("command", ["serve", "--port", "8080"])
    assert AppEnvironment("api", args="other 'two words'").words() == ["other", "two words"]

    @app.server
    def serve() -> None: ...

    assert app.kind == "function"


def test_parameters_do_not_reach_a_command() -> None:
    with pytest.raises(ValueError, match=r"parameters beside a command.*args="):
        AppEnvironment("api", command="serve", parameters=[Parameter("p", "a")])

    assert AppEnvironment("api", args="serve", parameters=[Parameter("p", "a")]).kind == "command"


def test_a_cluster_and_a_pool_exclude_each_other_and_mean_nothing_here() -> None:
    with pytest.raises(ValueError, match="cluster or cluster_pool, not both"):
        AppEnvironment("api", cluster="a", cluster_pool="b")
    for option in ("cluster", "cluster_pool"):
        with pytest.warns(UserWarning, match=f"'api': {option} has no meaning on Ray"):
            AppEnvironment("api", **{option: "a"})


@pytest.mark.parametrize("seconds", [-1, 3601, timedelta(hours=1, seconds=1)], ids=str)
def test_a_request_may_take_an_hour_at_most(seconds: Any) -> None:
    with pytest.raises(ValueError, match="from 0 s to one hour"):
        Timeouts(request=seconds)


@pytest.mark.parametrize("seconds", [1.5, "30", True], ids=repr)
def test_a_time_limit_is_whole_seconds_or_a_timedelta(seconds: Any) -> None:
    with pytest.raises(TypeError, match="int of seconds or a timedelta"):
        Timeouts(request=seconds)


def test_time_limits_are_kept_as_timedeltas() -> None:
    assert Timeouts(request=30).request == timedelta(seconds=30)
    assert Timeouts(request=30).request_s() == 30.0
    assert Timeouts().request_s() is None
    assert (Timeouts().drain_s(), Timeouts(drain=0).drain_s()) == (600.0, 0.0)
    assert Timeouts(drain=timedelta(hours=24)).drain_s() == 86_400.0
    with pytest.raises(ValueError, match="Timeouts drain must be from 0 s to one day, got 86401"):
        Timeouts(drain=86_401)
    with pytest.raises(TypeError, match="must be an int of seconds or a timedelta, got"):
        Timeouts(drain=1.5)  # type: ignore[arg-type]


def test_a_link_has_a_path_and_a_title() -> None:
    with pytest.raises(TypeError, match="str path and a str title"):
        Link("/docs", None)  # type: ignore[arg-type]


def test_two_parameters_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two parameters named 'p'"):
        AppEnvironment("api", parameters=[Parameter("p", "a"), Parameter("p", "b")])


def test_an_app_with_nothing_to_run_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"'api' has nothing to run.*@env\.server"):
        _ = AppEnvironment("api").kind


def test_server_and_hooks_are_kept_and_the_last_one_wins() -> None:
    app = AppEnvironment("api")

    @app.server
    def first() -> None: ...

    @app.server
    async def second() -> None: ...

    @app.on_startup
    def warm_up() -> None: ...

    @app.on_shutdown
    def clean_up() -> None: ...

    assert app.kind == "function"
    assert (app._server, app._on_startup, app._on_shutdown) == (second, warm_up, clean_up)
    assert callable(first)


def test_hooks_are_functions() -> None:
    with pytest.raises(TypeError, match=r"@env\.server"):
        AppEnvironment("api").server(3)  # type: ignore[type-var]


def test_the_endpoint_comes_from_the_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERNAL_APP_ENDPOINT_PATTERN", "http://127.0.0.1:8787/{app_fqdn}")

    assert AppEnvironment("api").endpoint == "http://127.0.0.1:8787/api"


def test_where_the_environment_says_nothing_the_cluster_is_asked_for_the_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("INTERNAL_APP_ENDPOINT_PATTERN", raising=False)
    cluster = Cluster()
    monkeypatch.setattr(cluster, "endpoint_pattern", lambda: "http://10.0.0.1:8080/{app_fqdn}")
    monkeypatch.setattr(this_process(), "cluster", cluster)

    assert AppEnvironment("api").endpoint == "http://10.0.0.1:8080/api"


@pytest.mark.parametrize("ask", [Cluster, Session], ids=["nobody", "no cluster"])
def test_without_a_cluster_the_endpoint_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, ask: type[Cluster]
) -> None:
    monkeypatch.delenv("INTERNAL_APP_ENDPOINT_PATTERN", raising=False)
    monkeypatch.setattr(this_process(), "cluster", ask())

    with pytest.raises(InitializationError, match=r"'api'.*flyteray\.init"):
        _ = AppEnvironment("api").endpoint


def test_apps_depend_on_apps_and_tasks() -> None:
    wanted: list[Environment] = [TaskEnvironment("train"), AppEnvironment("embed")]

    assert AppEnvironment("api", wanted).depends_on == wanted


def test_a_clone_has_the_fields_but_not_the_functions() -> None:
    app = AppEnvironment("api", port=4000, scaling=Scaling(2))
    app.server(lambda: None)

    clone = app.clone_with("twin", scaling=Scaling(3))

    assert (clone.port, clone.scaling, clone._server) == (Port(4000), Scaling(3), None)


def test_the_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(AppEnvironment("api")) == "AppEnvironment(name='api')"
    assert "port=Port(port=4000, name=None)" in repr(AppEnvironment("api", port=4000))


def test_outside_a_replica_the_app_context_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_RUN_MODE", raising=False)

    assert ctx() == AppContext()


def test_a_fastapi_app_is_served_as_asgi() -> None:
    app = FastAPIAppEnvironment(name="api", app=FastAPI())

    assert (app.kind, app.type) == ("asgi", "FastAPI")


def test_a_server_function_wins_over_the_fastapi_app() -> None:
    app = FastAPIAppEnvironment(name="api", app=FastAPI())
    app.server(lambda: None)

    assert app.kind == "function"


def test_something_else_than_a_fastapi_app_is_refused() -> None:
    with pytest.raises(TypeError, match="'api': app must be a FastAPI application, got 'app'"):
        FastAPIAppEnvironment(name="api", app="app")  # type: ignore[arg-type]


def test_uvicorn_is_configured_by_its_own_class() -> None:
    api = FastAPI()

    FastAPIAppEnvironment(name="api", app=api, uvicorn_config=uvicorn.Config(api))
    with pytest.raises(TypeError, match=r"uvicorn\.Config"):
        FastAPIAppEnvironment(name="api", app=api, uvicorn_config={"port": 1})  # type: ignore[arg-type]


def test_settings_of_uvicorn_without_an_effect_are_told_of() -> None:
    api = FastAPI()
    usual = {"host": "0.0.0.0", "port": 80, "workers": 4, "timeout_keep_alive": 9, "log_config": None}
    config = uvicorn.Config(api, **usual, limit_max_requests=9, ssl_keyfile="key.pem")  # type: ignore[arg-type]

    with pytest.warns(UserWarning, match="'api': uvicorn_config with limit_max_requests and ssl_keyfile has"):
        FastAPIAppEnvironment(name="api", app=api, uvicorn_config=config)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"app_name": "a", "function": lambda env, context: "x"},
        {"app_name": "a", "project_domain_suffix": "b"},
    ],
    ids=["neither", "both", "suffix"],
)
def test_a_subdomain_is_made_of_a_name_or_of_a_function(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"exactly one|project_domain_suffix"):
        Subdomain(**wrong)
