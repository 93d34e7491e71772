"""An application of Ray Serve's, one deployment or a composition of several, is served as an app."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

from flyteray._plan.resources import asked_of_ray
from flyteray.app.environment import AppEnvironment
from flyteray.app.scaling import Scaling

F = TypeVar("F", bound=Callable[..., Any])

# Options of the ingress deployment that are the app's own matter, and how that says them.
_ELSEWHERE = {
    "graceful_shutdown_timeout_s": "say timeouts=Timeouts(drain=...)",
    "graceful_shutdown_wait_loop_s": "its replicas go as soon as nothing is open",
    "logging_config": "its log is the app's",
    "max_replicas_per_node": "Ray places its replicas as those of any app",
    "placement_group_bundles": "say it of a deployment that it calls",
    "placement_group_strategy": "say it of a deployment that it calls",
    "request_router_config": "the ingress sends requests to its replicas",
    "gang_scheduling_config": "say it of a deployment that it calls",
    "rolling_update_percentage": "a new version starts beside the old one",
    "max_surge_percent": "a new version starts beside the old one",
}
_SCALING = {
    "min_replicas",
    "max_replicas",
    "initial_replicas",
    "target_ongoing_requests",
    "downscale_delay_s",
}
_ACTOR = {"num_cpus", "num_gpus", "memory", "accelerator_type", "resources", "label_selector", "runtime_env"}


@dataclass(eq=False, repr=False, kw_only=True)
class ServeAppEnvironment(AppEnvironment):
    """An :class:`AppEnvironment` of an application of Ray Serve's: what ``Deployment.bind()`` gives.

    Requests reach the ingress deployment as under Serve, FastAPI classes (``@serve.ingress``) and ``__call__`` alike,
    with WebSockets and streams; ``@serve.batch``, ``@serve.multiplexed`` (the header ``serve_multiplexed_model_id``),
    ``user_config``, ``check_health`` and handles work, and so does what ``ray.serve.llm`` builds. Routes, keys,
    limits, versions, canaries and metrics are those of any app. No proxy of Serve's is in the way: the ingress
    deployment's code is called in the replica that the ingress reaches. When a client goes away its request is
    cancelled, and what that has asked of other deployments.

    The other deployments run in a Serve of flyteray's, with replicas, autoscaling, hardware and queues as they say.
    Each version of the app has its own, and takes requests when all of them are up. All processes have the app's
    code, packages, parameters, secrets and variables. Each binds the application anew by running its module, which
    must give the same everywhere; of what is bound nothing is sent. Models belong into parameters: processes of one
    machine share their memory. To their code Serve is flyteray's: it finds no application of ``serve.run``. Hooks
    such as ``@env.on_startup`` run where the ingress deployment does, before its constructor.

    What the ingress deployment says of itself counts where the app says nothing, and is refused where both say
    something: ``num_replicas`` or ``autoscaling_config`` is the app's ``scaling`` (without either: one replica),
    ``ray_actor_options`` its ``resources`` and variables. Its ``max_ongoing_requests`` (Serve's default is 5) and
    ``max_queued_requests`` hold in each replica. A deployment without ``ray_actor_options`` reserves no CPU, so that
    two versions fit side by side. Its replicas are given requests whichever models they have loaded: where a model
    should have a replica of its own, let a deployment behind it be the multiplexed one. Where the app sleeps
    (``Scaling(replicas=(0, ...))``), its other deployments stay.

    In local mode all deployments run in one process, once each, without variables of their own.

    Args:
        app: The application, such as ``Api.bind(Model.bind())``.

    Raises:
        TypeError: ``app`` is no application.
        ValueError: A deployment has an option that has no meaning here, or can't be carried; or the app says it, too;
            or there is a command or args, which would never run.
        RuntimeSystemError: The installed Ray is not one that this works with.
    """

    app: Any
    type: str | None = "Ray Serve"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.words():
            raise ValueError(
                f"{self._words()} serves its application in the replica's process, so command and args would never "
                "run: leave them out, or use AppEnvironment."
            )
        # deferred: it loads Ray Serve, as who has an application has done
        from flyteray._serve.compositions.graph import describe

        graph = describe(self._words(), self.app)
        self._parts = graph.parts
        options = graph.ingress
        self._ingress = f"its ingress deployment {options['name']!r}"
        for option, instead in _ELSEWHERE.items():
            if option in options:
                raise ValueError(f"{self._words()}: {self._ingress} sets {option}: {instead}.")
        self._take_scaling(options)
        self._take_actor_options(options.get("ray_actor_options") or {})

    @property
    def kind(self) -> Literal["serve"]:
        """The host of a replica: the ingress deployment."""
        return "serve"

    def server(self, func: F) -> F:
        """Refused: its server is the application.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{self._words()} serves its application: @env.server would take its place.")

    def _take_scaling(self, options: Mapping[str, Any]) -> None:
        asked = self._scaling_of(options)
        if asked is None:
            self.scaling = Scaling(replicas=1) if self.scaling == Scaling() else self.scaling
        elif self.scaling in (Scaling(), asked):  # a clone has it already
            self.scaling = asked
        else:
            raise ValueError(
                f"{self._words()}: both {self._ingress} and scaling say how many replicas there are: leave one out."
            )

    def _scaling_of(self, options: Mapping[str, Any]) -> Scaling | None:
        policy = options.get("autoscaling_config")
        if policy is None:
            number = options.get("num_replicas")
            return None if number is None else Scaling(replicas=number)
        least, most = policy.get("min_replicas", 1), policy.get("max_replicas", 1)
        if unknown := sorted(policy.keys() - _SCALING):
            raise ValueError(
                f"{self._words()}: the autoscaling_config of {self._ingress} sets {', '.join(unknown)}, which is for "
                "Serve's autoscaler: its replicas follow the requests that the ingress sees. Leave it out, or say "
                "scaling=Scaling(...) instead."
            )
        if policy.get("initial_replicas", max(least, 1)) != max(least, 1):
            raise ValueError(
                f"{self._words()}: {self._ingress} sets initial_replicas to {policy['initial_replicas']}: an app "
                f"starts with its least, here {max(least, 1)}."
            )
        after = policy.get("downscale_delay_s")
        return Scaling(
            replicas=(least, most),
            metric=Scaling.Concurrency(policy.get("target_ongoing_requests", 2)),
            scaledown_after=None if after is None else timedelta(seconds=after),
        )

    def _take_actor_options(self, asked: Mapping[str, Any]) -> None:
        if unknown := sorted(asked.keys() - _ACTOR):
            raise ValueError(
                f"{self._words()}: {self._ingress} sets {', '.join(unknown)} in its ray_actor_options, which has no "
                "meaning for replicas of an app: leave it out."
            )
        self._hardware = asked_of_ray(asked)
        if self._hardware and self.resources is not None:
            raise ValueError(
                f"{self._words()}: both {self._ingress}, by ray_actor_options, and resources say what a replica "
                "needs: leave one out."
            )
        variables = (asked.get("runtime_env") or {}).get("env_vars") or {}
        if variables:
            self.env_vars = {**(self.env_vars or {}), **variables}
