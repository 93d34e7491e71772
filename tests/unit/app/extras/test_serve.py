"""What an application of Ray Serve's says of itself, and what its environment says. No Ray runs here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ray import serve

from flyteray._declare.resources import Resources
from flyteray._plan.apps import app_spec
from flyteray._plan.spec import AppSpec, CodeRef
from flyteray.app import Scaling
from flyteray.app.extras import ServeAppEnvironment


@serve.deployment
class Part:
    def __call__(self) -> None: ...


@serve.deployment
class Front:
    def __init__(self, *parts: Any) -> None: ...

    def __call__(self) -> None: ...


def policy(context: Any) -> tuple[int, dict[str, Any]]:
    return 1, {}


def declared(environment: dict[str, Any] | None = None, **options: Any) -> ServeAppEnvironment:
    app = Front.options(**options).bind(Part.bind())
    return ServeAppEnvironment(name="front", app=app, **environment or {})


def spec(environment: ServeAppEnvironment) -> AppSpec:
    return app_spec(environment, CodeRef(bundle="", module="m", name="n"))


def test_the_deployments_behind_the_one_that_is_reached_are_parts() -> None:
    planned = spec(declared())

    assert (planned.kind, planned.replicas, planned.scaling) == ("serve", 1, None)
    assert [(each.name, each.multiplexed) for each in planned.parts] == [("Part", False)]


def test_options_of_a_part_are_part_of_the_version() -> None:
    def version(**options: Any) -> str:
        app = Front.bind(Part.options(**options).bind())
        return spec(ServeAppEnvironment(name="front", app=app)).digest()

    assert version(num_replicas=2) == version(num_replicas=2) != version(num_replicas=3)


@pytest.mark.parametrize(
    ("options", "scaling"),
    [
        ({"num_replicas": 3}, Scaling(replicas=3)),
        (
            {"num_replicas": "auto"},
            Scaling(replicas=(1, 100), metric=Scaling.Concurrency(2)),
        ),
        (
            {
                "autoscaling_config": {
                    "min_replicas": 0,
                    "max_replicas": 4,
                    "target_ongoing_requests": 5,
                    "downscale_delay_s": 30,
                }
            },
            Scaling(replicas=(0, 4), metric=Scaling.Concurrency(5), scaledown_after=30),
        ),
    ],
    ids=str,
)
def test_replicas_are_as_the_ingress_deployment_says(options: dict[str, Any], scaling: Scaling) -> None:
    app = declared(**options)

    assert app.scaling == scaling
    assert app.clone_with("twin").scaling == scaling
    with pytest.raises(ValueError, match="both its ingress deployment 'Front' and scaling say"):
        declared({"scaling": Scaling(replicas=7)}, **options)


def test_replicas_are_as_the_app_says_where_the_deployment_says_nothing() -> None:
    scaling = Scaling(replicas=(0, 3), scaledown_after=timedelta(minutes=1))

    assert declared({"scaling": scaling}).scaling == scaling


def test_what_is_for_serve_s_autoscaler_is_refused() -> None:
    with pytest.raises(ValueError, match="sets upscale_delay_s, which is for Serve's autoscaler"):
        declared(autoscaling_config={"max_replicas": 2, "upscale_delay_s": 1})
    with pytest.raises(ValueError, match="initial_replicas to 2: an app starts with its least, here 1"):
        declared(autoscaling_config={"max_replicas": 2, "initial_replicas": 2})


def test_hardware_is_as_the_ingress_deployment_says() -> None:
    asked = {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "memory": 1 << 30,
        "resources": {"disk": 1},
        "accelerator_type": "T4",
        "label_selector": {"zone": "a"},
        "runtime_env": {"env_vars": {"A": "1"}},
    }
    gets = spec(declared(ray_actor_options=asked)).environment

    assert (gets.num_cpus, gets.num_gpus, gets.memory) == (2.0, 0.5, 1 << 30)
    assert (gets.resources, gets.accelerator_type, gets.labels) == ({"disk": 1}, "T4", {"zone": "a"})
    assert gets.env_vars == {"A": "1"}
    assert spec(declared()).environment.num_cpus == 0
    assert spec(declared({"resources": Resources(cpu=1)})).environment.num_cpus == 1
    with pytest.raises(ValueError, match="by ray_actor_options, and resources say what a replica needs"):
        declared({"resources": Resources(cpu=1)}, ray_actor_options={"num_cpus": 2})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"graceful_shutdown_timeout_s": 3}, "sets graceful_shutdown_timeout_s: say timeouts="),
        ({"max_replicas_per_node": 3}, "sets max_replicas_per_node: Ray places its replicas"),
        ({"logging_config": {"log_level": "DEBUG"}}, "sets logging_config: its log is the app's"),
        ({"max_constructor_retry_count": 3}, "sets max_constructor_retry_count, which a ServeAppEnvironment"),
        (
            {"ray_actor_options": {"runtime_env": {"pip": ["x"]}}},
            "sets pip in its runtime_env. .* say image=",
        ),
        (
            {"ray_actor_options": {"fallback_strategy": [{"label_selector": {"a": "b"}}]}},
            "sets fallback_strategy in its ray_actor_options",
        ),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused_with_what_to_do(options: dict[str, Any], told: str) -> None:
    with pytest.raises(
        ValueError, match=f"ServeAppEnvironment 'front': its (ingress )?deployment 'Front' {told}"
    ):
        declared(**options)


def test_code_for_the_controller_is_refused() -> None:
    scaling = {"max_replicas": 2, "policy": {"policy_function": policy}}
    part = Part.options(autoscaling_config=scaling).bind()

    with pytest.raises(
        ValueError, match="its deployment 'Part' sets the policy of its autoscaling_config to code"
    ):
        ServeAppEnvironment(name="front", app=Front.bind(part))


def test_only_a_bound_application_is_one() -> None:
    with pytest.raises(TypeError, match=r"got the deployment 'Part': bind its arguments, app=Part\.bind"):
        ServeAppEnvironment(name="front", app=Part)
    with pytest.raises(TypeError, match=r"which Deployment\.bind\(\) gives, got 3"):
        ServeAppEnvironment(name="front", app=3)


def test_nothing_else_may_be_its_server() -> None:
    with pytest.raises(ValueError, match="command and args would never run"):
        declared({"args": "serve"})
    with pytest.raises(TypeError, match=r"@env\.server would take its place"):
        declared().server(print)
