"""``flyteray get`` shows runs, tasks, apps, their logs and reports, secrets or keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rich_click as click

from flyteray._declare.near import did_you_mean
from flyteray._plan.info import ActionInfo, ActionPhase, AppInfo, Lineage, ReplicaStatus, RunInfo
from flyteray.cli import printing
from flyteray.cli.verbs.logs import logs
from flyteray.cli.verbs.report import report
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App, Key, Run, Secret, Task, TaskDetails

_limit = click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many."
)


@click.group(
    epilog=printing.examples(
        "flyteray get run",
        "flyteray get run r0123456789ab -o json",
        "flyteray get app hello",
        "flyteray get logs app hello",
        "flyteray get report r0123456789ab --open",
    )
)
def get() -> None:
    """Show runs, tasks, apps, their logs and reports, secrets or keys."""


get.add_command(logs)
get.add_command(report)


@get.command(
    name="run",
    epilog=printing.examples("flyteray get run --in-phase failed", "flyteray get run r0123456789ab"),
)
@click.argument("name", required=False)
@click.option("--task-name", help="Only runs of this task, by its full name: environment.function.")
@click.option(
    "--in-phase", type=click.Choice([str(phase) for phase in ActionPhase]), help="Only runs in this phase."
)
@_limit
@printing.output_option
def runs(
    name: str | None, task_name: str | None, in_phase: str | None, limit: int, output: printing.Output
) -> None:
    """The runs, newest first, or one of them with its actions."""
    require_cluster()
    if name is None:
        found = Run.listall(task_name=task_name, in_phase=in_phase, limit=limit)
        if task_name is not None and not found:
            _note_unknown("run of a task", task_name, {run.info.task for run in Run.listall(limit=1000)})
        columns = ("name", "task", "phase", "created_at", "seconds")
        printing.rows(
            [_run(run.info) for run in found], output, (*columns, *_waiting(run.info for run in found))
        )
        return
    run = Run.get(name)
    infos = run.actions()
    actions = [action.model_dump() | {"phase": str(action.phase)} for action in infos]
    if output == "json":
        printing.record({**_run(run.info), "actions": actions}, output)
        return
    printing.record(_run(run.info), output)
    print()
    of_actions = ("action", "task", "phase", "attempts", "started_at", "ended_at")
    printing.rows(actions, output, (*of_actions, *_waiting(infos)))


@get.command(name="task", epilog=printing.examples("flyteray get task", "flyteray get task env.train v2"))
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--env", help="Only tasks of this environment.")
@_limit
@printing.output_option
def tasks(
    name: str | None, version: str | None, env: str | None, limit: int, output: printing.Output
) -> None:
    """The deployed tasks, the versions of one of them, or one version. The one that was deployed last comes first."""
    require_cluster()
    if name is not None and version is not None:
        printing.record(_task(Task.get(name, version=version).fetch()), output)
        return
    found = Task.listall(by_task_name=name, by_task_env=env, limit=limit)
    if name is not None and not found:
        Task.get(name, auto_version="latest").fetch()  # says what there is
    if env is not None and not found:
        _note_unknown(
            "task of an environment", env, {task.name.rpartition(".")[0] for task in Task.listall(limit=1000)}
        )
    printing.rows([_task(task) for task in found], output, ("name", "version", "deployed_at", "inputs"))


@get.command(name="app", epilog=printing.examples("flyteray get app", "flyteray get app hello -o json"))
@click.argument("name", required=False)
@_limit
@printing.output_option
def apps(name: str | None, limit: int, output: printing.Output) -> None:
    """The apps, or one of them."""
    require_cluster()
    if name is None:
        found = [_app(app.info) for app in App.listall(limit=limit)]
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


@get.command(name="key", epilog=printing.examples("flyteray get key", "flyteray get key -o json"))
@_limit
@printing.output_option
def keys(limit: int, output: printing.Output) -> None:
    """The keys for apps that require auth, by name; the keys themselves are never shown."""
    found = [{"name": key.name, "created_at": key.created_at} for key in Key.listall(limit)]
    printing.rows(found, output, ("name", "created_at"))


def _note_unknown(what: str, name: str, there: set[str]) -> None:
    """Say why a list is empty, where nothing has such a name; with a known one, it is for the other conditions."""
    if name not in there:
        printing.note(f"There is no {what} {name!r}.{did_you_mean(name, there)}")


def _waiting(infos: Iterable[RunInfo | ActionInfo]) -> tuple[str, ...]:
    """The column for what they wait for, where one does."""
    return ("waiting",) if any(info.waiting for info in infos) else ()


def _secret(secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.name,
        "source": "environment" if secret.taken else "created",
        "created_at": secret.created_at,
        "updated_at": secret.updated_at,
    }


def _run(info: RunInfo) -> dict[str, Any]:
    facts = info.model_dump()
    facts["phase"] = str(info.phase)
    facts["error"] = f"{info.error.code}: {info.error.message}" if info.error else None
    facts["seconds"] = (
        round((info.ended_at - info.started_at).total_seconds(), 2)
        if info.started_at and info.ended_at
        else None
    )
    return facts


def _task(task: TaskDetails) -> dict[str, Any]:
    return {
        "name": task.name,
        "version": task.version,
        "deployed_at": task.info.deployed_at,
        "inputs": task.inputs,
        "required": task.required_args,
        "outputs": task.outputs,
        "docs": task.docs or None,
    }


def _app(info: AppInfo) -> dict[str, Any]:
    facts = info.model_dump()
    facts["phase"] = str(info.phase)
    facts["replicas"] = f"{info.ready_replicas}/{info.replicas}"
    facts["error"] = f"{info.error.code}: {info.error.message}" if info.error else None
    return facts


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
    working = ["works on after its answers"] if replica.working else []
    away = [f"its machine does not answer {', '.join(replica.unreached_by)}"] if replica.unreached_by else []
    return "; ".join([f"{replica.host}:{replica.port}", *serves, *refused, *blocked, *working, *away])
