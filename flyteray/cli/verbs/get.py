"""``flyteray get`` shows runs, actions, tasks, apps, logs, triggers, kept results, secrets, keys, configuration."""

from __future__ import annotations

from typing import Any

import rich_click as click

from flyteray._declare.near import did_you_mean
from flyteray._plan.info import AppInfo, CanaryInfo, Lineage, ReplicaStatus
from flyteray.cli import failures, options, printing, shipping
from flyteray.cli.nouns import run, shadow
from flyteray.cli.nouns.artifact import get as artifact
from flyteray.cli.nouns.cache import get as cache
from flyteray.cli.nouns.condition import get as condition
from flyteray.cli.nouns.config import get as config
from flyteray.cli.nouns.key import get as key
from flyteray.cli.nouns.trigger import get as trigger
from flyteray.cli.verbs.logs import logs
from flyteray.cli.verbs.report import report
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App, AppVersion, Project, Secret, Task, TaskDetails

_limit = click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many."
)
_ELSEWHERE = {
    "devbox": "`flyteray status` says what runs where.",
    "api-key": "`flyteray get key` shows the keys for apps, by name.",
    "settings": "`flyteray get config` shows what is configured.",
}


@click.group(
    cls=options.Nouns,
    elsewhere=_ELSEWHERE,
    epilog=printing.examples(
        "flyteray get run",
        "flyteray get run r0123456789ab -o json",
        "flyteray get app hello",
        "flyteray get io r0123456789ab",
        "flyteray get logs r0123456789ab --follow",
        "flyteray get report r0123456789ab --open",
    ),
)
def get() -> None:
    """Show runs, actions, tasks, apps, logs, reports, triggers, kept results, secrets, keys, configuration."""


get.add_command(run.get_runs)
get.add_command(run.get_actions)
get.add_command(run.get_io)
get.add_command(run.get_code)
get.add_command(logs)
get.add_command(report)
get.add_command(artifact)
get.add_command(key)
get.add_command(trigger)
get.add_command(cache)
get.add_command(condition)
get.add_command(config)


@get.command(name="task", epilog=printing.examples("flyteray get task", "flyteray get task env.train v2"))
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--env", help="Only tasks of this environment.")
@click.option("--entrypoint", is_flag=True, help="Only tasks that are declared with entrypoint=True.")
@_limit
@printing.output_option
def tasks(
    name: str | None,
    version: str | None,
    env: str | None,
    entrypoint: bool,
    limit: int,
    output: printing.Output,
) -> None:
    """The deployed tasks, the versions of one of them, or one version. The one that was deployed last comes first."""
    require_cluster()
    if name is not None and version is not None:
        printing.record(_task(Task.get(name, version=version).fetch()), output)
        return
    found = Task.listall(name, env, limit=limit, entrypoint=entrypoint or None)
    if name is not None and not found:
        Task.get(name, auto_version="latest").fetch()  # says what there is
    if env is not None and not found:
        _note_unknown(
            "task of an environment", env, {task.name.rpartition(".")[0] for task in Task.listall(limit=1000)}
        )
    printing.rows([_task(task) for task in found], output, ("name", "version", "deployed_at", "inputs"))


@get.command(name="app", epilog=printing.examples("flyteray get app", "flyteray get app hello -o json"))
@click.argument("name", required=False)
@click.option("--status", help="Only of this status, such as active or stopped.")
@click.option("--versions", is_flag=True, help="Of one app: its versions, with their shares of the requests.")
@options.accepted("--only-mine", is_flag=True, instead="Who has served an app is not recorded.")
@_limit
@printing.output_option
def apps(name: str | None, status: str | None, versions: bool, limit: int, output: printing.Output) -> None:
    """The apps, or one of them."""
    if versions and name is None:
        raise click.UsageError("Name the app whose versions are asked for.")
    require_cluster()
    if name is not None and versions:
        found = [_version(version, output) for version in App.get(name).versions()[:limit]]
        columns = (
            "name",
            "phase",
            "share",
            "wanted",
            "ready_replicas",
            "created_at",
            "canary",
            "shadow",
            "error",
        )
        printing.rows(found, output, columns)
        return
    if name is None:
        try:
            found = [_app(app.info) for app in App.listall(limit=limit, in_status=status)]
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        if output != "json":
            found = [each | {"phase": "asleep" if each["asleep"] else each["phase"]} for each in found]
        printing.rows(found, output, ("name", "phase", "revision", "replicas", "url", "waiting"))
    else:
        info = App.get(name).info
        printing.record(_app(info) if output == "json" else _app_in_words(info), output)


@get.command(
    name="secret", epilog=printing.examples("flyteray get secret", "flyteray get secret OPENAI_API_KEY")
)
@click.argument("name", required=False)
@_limit
@printing.output_option
def secrets(name: str | None, limit: int, output: printing.Output) -> None:
    """The secrets by name, or one of them; their values are never shown."""
    if name is None:
        found = [_secret(secret) for secret in Secret.listall(limit)]
        printing.rows(found, output, ("name", "source", "created_at", "updated_at"))
    else:
        printing.record(_secret(Secret.get(name)), output)


@get.command(name="project", epilog=printing.examples("flyteray get project"))
@click.argument("name", required=False)
@click.option("--archived", is_flag=True, help="Only those that are archived: Ray archives none.")
@printing.output_option
def projects(name: str | None, archived: bool, output: printing.Output) -> None:
    """The one project that all is in, as Ray has none; its name is that of the configuration."""
    shipping.configure()
    if name is not None:
        with failures.users_code():
            printing.record(Project.get(name).to_dict(), output)
        return
    found = [each.to_dict() for each in Project.listall(archived=archived)]
    printing.rows(found, output, ("id", "name", "description"))


def _note_unknown(what: str, name: str, there: set[str]) -> None:
    """Say why a list is empty, where nothing has such a name; with a known one, it is for the other conditions."""
    if name not in there:
        printing.note(f"There is no {what} {name!r}.{did_you_mean(name, there)}")


def _secret(secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.name,
        "source": "environment" if secret.taken else "created",
        "created_at": secret.created_at,
        "updated_at": secret.updated_at,
    }


def _task(task: TaskDetails) -> dict[str, Any]:
    return {
        "name": task.name,
        "version": task.version,
        "deployed_at": task.info.deployed_at,
        "inputs": task.inputs,
        "required": task.required_args,
        "outputs": task.outputs,
        "entrypoint": task.entrypoint,
        "docs": task.docs or None,
    }


def _app(info: AppInfo) -> dict[str, Any]:
    facts = info.model_dump()
    facts["phase"] = str(info.phase)
    facts["replicas"] = f"{info.ready_replicas}/{info.replicas}"
    facts["error"] = f"{info.error.code}: {info.error.message}" if info.error else None
    return facts


def _version(info: AppVersion, output: printing.Output) -> dict[str, Any]:
    error = f"{info.error.code}: {info.error.message}" if info.error else None
    facts = {**info.model_dump(), "error": error}
    if info.canary is not None and output != "json":
        facts["canary"] = _canary(info.canary)
    if info.shadow is not None and output != "json":
        facts["shadow"] = shadow.words(info.shadow)
    return facts


def _canary(canary: CanaryInfo) -> str:
    mine, others = canary.canary, canary.serving
    at = f"step {canary.step} of {len(canary.steps)}" if canary.outcome == "running" else canary.outcome
    reason = f": {canary.reason}" if canary.reason else ""
    seen = f"{mine.requests} requests, {mine.error_rate:.1%} failed (others {others.error_rate:.1%})"
    if mine.p50_s is not None and others.p50_s is not None:
        seen += f", p50 {mine.p50_s * 1000:.0f} ms (others {others.p50_s * 1000:.0f} ms)"
    return f"{at}{reason}; {seen}"


def _app_in_words(info: AppInfo) -> dict[str, Any]:
    facts = _app(info)
    facts["lineage"] = {name: _origin(lineage) for name, lineage in info.lineage.items()}
    if info.asleep:
        facts["phase"] = f"{info.phase}, asleep: the first request wakes it"
    facts["replica_list"] = {replica.name: _state(replica) for replica in info.replica_list}
    return facts


def _origin(lineage: Lineage) -> str:
    run = f"{lineage.output} of run {lineage.run or 'by replica'}" if lineage.output else ""
    content = lineage.hash and lineage.hash[:19]
    return ", ".join(part for part in (run, "followed" if lineage.follow else "", content) if part)


def _state(replica: ReplicaStatus) -> str:
    serves = [f"{name} of run {run}" for name, run in replica.outputs.items()]
    refused = [f"refused {name} of run {why}" for name, why in replica.refused.items()]
    blocked = ["its event loop is blocked"] if replica.blocked else []
    unwell = ["its server says that it takes no requests"] if replica.unwell else []
    working = ["works on after its answers"] if replica.working else []
    away = [f"its machine does not answer {', '.join(replica.unreached_by)}"] if replica.unreached_by else []
    return "; ".join(
        [f"{replica.host}:{replica.port}", *serves, *refused, *blocked, *unwell, *working, *away]
    )
