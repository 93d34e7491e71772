"""``flyteray.deploy`` makes tasks and apps ready for others, who use them by name."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flyteray._client.apps.app import App
from flyteray._client.apps.serve import check_rollout, warn_of_unknown_apps
from flyteray._client.bridge import Verb, not_while_loading, warn_caller
from flyteray._client.credentials.caller_secrets import take_secrets
from flyteray._client.session.owner import owner_variables
from flyteray._client.session.session import session
from flyteray._client.triggers.declared import PlannedTrigger, of_task
from flyteray._declare.environment import Environment
from flyteray._declare.tasks.task_environment import TaskEnvironment
from flyteray._plan import deployment
from flyteray._plan.bundle.shipping import CopyStyle, Shipping
from flyteray._plan.deployment import DeploymentPlan
from flyteray._plan.info import AskedVersion
from flyteray._plan.spec import TaskPlan
from flyteray._plan.traffic.canary import CanarySpec
from flyteray._plan.traffic.shadow import ShadowSpec
from flyteray.app.canary import Canary
from flyteray.app.environment import AppEnvironment
from flyteray.app.shadow import Shadow
from flyteray.errors import DeploymentError

Row = tuple[tuple[str, str], ...]  # a line of a table: column and value


@dataclass(frozen=True)
class DeployedTask:
    """A version of a task that was deployed."""

    plan: TaskPlan

    def get_name(self) -> str:
        """The full name."""
        return self.plan.name

    def summary_repr(self) -> str:
        """One line for people."""
        return f"DeployedTask(name={self.plan.name!r}, version={self.plan.version!r})"

    def table_repr(self) -> Row:
        """The line of a table."""
        inputs = ", ".join(f"{declared.name}: {declared.type}" for declared in self.plan.inputs)
        return (
            ("type", "task"),
            ("name", self.plan.name),
            ("version", self.plan.version),
            ("inputs", inputs),
            ("outputs", ", ".join(self.plan.outputs.values())),
        )


@dataclass(frozen=True)
class _DeployedEnvironment:
    env: Environment

    def get_name(self) -> str:
        """The environment's name."""
        return self.env.name

    def env_repr(self) -> Row:
        """The environment as a line of a table."""
        kind = "app" if isinstance(self.env, AppEnvironment) else "tasks"
        return (("environment", self.env.name), ("kind", kind))


@dataclass(frozen=True)
class DeployedTaskEnvironment(_DeployedEnvironment):
    """An environment of tasks and the versions of them that were deployed."""

    deployed_entities: list[DeployedTask]

    def summary_repr(self) -> str:
        """One line for people."""
        tasks = ", ".join(task.get_name() for task in self.deployed_entities)
        return f"DeployedTaskEnvironment(name={self.env.name!r}, tasks=[{tasks}])"

    def table_repr(self) -> list[Row]:
        """The deployed tasks as lines of a table."""
        return [task.table_repr() for task in self.deployed_entities]


@dataclass(frozen=True)
class DeployedAppEnvironment(_DeployedEnvironment):
    """An app that was deployed; ``deployed_app`` is its handle, None after a dry run."""

    env: AppEnvironment
    version: str
    deployed_app: App | None

    def summary_repr(self) -> str:
        """One line for people."""
        return f"DeployedAppEnvironment(name={self.env.name!r}, version={self.version!r})"

    def table_repr(self) -> list[Row]:
        """The app as a line of a table."""
        url = self.deployed_app.url if self.deployed_app else ""
        return [(("type", "app"), ("name", self.env.name), ("version", self.version), ("url", url))]


@dataclass(frozen=True)
class Deployment:
    """A deployment: its environments by name, those that are needed by others first."""

    version: str
    envs: Mapping[str, DeployedTaskEnvironment | DeployedAppEnvironment]

    def env_repr(self) -> list[Row]:
        """The environments as lines of a table."""
        return [deployed.env_repr() for deployed in self.envs.values()]

    def summary_repr(self) -> str:
        """One line for people."""
        parts = ", ".join(deployed.summary_repr() for deployed in self.envs.values())
        return f"Deployment(version={self.version!r}, envs=[{parts}])"

    def table_repr(self) -> list[Row]:
        """The deployed tasks and apps as lines of a table."""
        return [row for deployed in self.envs.values() for row in deployed.table_repr()]


@dataclass(frozen=True)
class _Rollouts:
    """How new versions of apps come; ``asked_for`` are those that were named, not only needed by others."""

    share: int
    canary: Canary | None
    shadow: Shadow | None
    asked_for: Collection[str]

    def of(self, app: str) -> tuple[int, CanarySpec | None, ShadowSpec | None]:
        """How that of an app comes."""
        shadow = self.shadow if app in self.asked_for else None
        return (
            self.share,
            CanarySpec.of(self.canary) if self.canary else None,
            ShadowSpec.of(shadow) if shadow else None,
        )


@Verb
@not_while_loading("flyteray.deploy")
async def deploy(
    *envs: Environment,
    dry_run: bool = False,
    version: str | None = None,
    interactive_mode: bool | None = None,
    copy_style: CopyStyle = "loaded_modules",
    dryrun: bool | None = None,
    traffic: int = 100,
    canary: Canary | None = None,
    shadow: Shadow | None = None,
) -> list[Deployment]:
    """Deploy environments with all that they depend on: tasks can be run by name then, apps come up.

    When it returns, tasks can be run. It does not wait for the apps, as :func:`flyteray.serve` does, and need not:
    a request for one that comes up for the first time waits until there is a replica, or is answered with status 503
    and the reason where it can't start; one for an app that serves already is answered by its older version until the
    newer one is ready. Deploying what is there already changes nothing, but makes it the newest version again.

    Args:
        envs: What to deploy; those that share something are one deployment.
        dry_run: Only plan; nothing is sent and no cluster is needed.
        version: Names the version, of tasks and apps alike. Default: a hash of what is deployed.
        interactive_mode: Send code by value; see :func:`flyteray.with_runcontext`.
        copy_style: Which code is sent; ``"none"`` needs a version.
        dryrun: An older spelling of ``dry_run``; warns.
        traffic: Percent of the requests for the new versions of apps that serve already, as of
            :func:`flyteray.with_servecontext`.
        canary: How these take over by and by: ``Canary(steps=(5, 25, 50))``; see :class:`flyteray.app.Canary`.
        shadow: How those among ``envs`` get copies of requests, while another version serves: ``Shadow(share=10)``; see
            :class:`flyteray.app.Shadow`. Apps that they depend on are deployed as without it.

    Returns:
        The deployments; more than one where the environments have nothing in common.

    Raises:
        TypeError: not an environment, or a trigger with an input that its task does not take.
        ValueError: two environments of one name, apps that need one another in a circle, a version that stands for
            something else already, or a trigger without an input that its task needs.
        DeploymentError: ``copy_style="none"`` without a version.
        CodeBundleError: code can't be shipped.
        ImageBuildError: the image of a task can't be built; with pip's own message.
    """
    check_rollout("deploy", traffic, canary, shadow)
    if dryrun is not None:
        warn_caller("deploy(dryrun=...) is now called dry_run.", FutureWarning)
        dry_run = dry_run or dryrun
    if copy_style == "none" and version is None:
        raise DeploymentError(
            'copy_style="none" sends no code whose content could name the version: give it a name, version="...".'
        )
    shipping = session().shipping(
        Shipping(copy_style=copy_style, interactive=interactive_mode, version=version)
    )
    plans = [
        await asyncio.to_thread(deployment.plan, group, version, shipping, owner_variables())
        for group in deployment.groups(envs)
    ]
    triggers = [_triggers(plan) for plan in plans]
    rollouts = _Rollouts(traffic, canary, shadow, {env.name for env in envs})
    return [
        Deployment(
            plan.version,
            dict(_results(plan, {} if dry_run else await _execute(plan, declared, rollouts))),
        )
        for plan, declared in zip(plans, triggers, strict=True)
    ]


def _triggers(plan: DeploymentPlan) -> list[PlannedTrigger]:
    """The triggers of the tasks; errors as of :func:`of_task`."""
    return [
        of_task(trigger, env.tasks[task.name], task)
        for name, tasks in plan.tasks.items()
        if isinstance(env := plan.envs[name], TaskEnvironment)
        for task in tasks
        for trigger in env.tasks[task.name].triggers
    ]


async def _execute(
    plan: DeploymentPlan, triggers: Sequence[PlannedTrigger], rollouts: _Rollouts
) -> dict[str, AskedVersion]:
    """Send code, plans and triggers; returns the versions of apps."""
    await take_secrets([spec.environment for spec in plan.apps.values()], plan.envs.values)
    for bundle in plan.bundles.values():
        await session().upload(bundle)
    # Those of apps are built while the apps come up.
    images = {each.spec.environment.image for tasks in plan.tasks.values() for each in tasks} - {None}
    await asyncio.gather(*(session().controller.images.prepare(image) for image in images))
    deployed = [task for tasks in plan.tasks.values() for task in tasks]
    await session().controller.tasks.deploy(deployed)
    if deployed:
        await session().controller.triggers.deploy([task.name for task in deployed], triggers)
    await warn_of_unknown_apps([*plan.apps.values()])
    return {name: await session().serve(spec, *rollouts.of(name)) for name, spec in plan.apps.items()}


def _results(
    plan: DeploymentPlan, asked: Mapping[str, AskedVersion]
) -> Iterator[tuple[str, DeployedTaskEnvironment | DeployedAppEnvironment]]:
    for name, env in plan.envs.items():
        if name in plan.tasks:
            tasks = [DeployedTask(task) for task in plan.tasks[name]]
            yield name, DeployedTaskEnvironment(env, tasks)
        elif isinstance(env, AppEnvironment):
            made = asked.get(name)
            version = made.version if made else plan.apps[name].version_id
            yield name, DeployedAppEnvironment(env, version, App(made.app) if made else None)
