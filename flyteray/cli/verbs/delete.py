"""``flyteray delete`` deletes an app, a key, a trigger, kept results; ``flyteray abort`` ends a run or an action."""

from __future__ import annotations

import rich_click as click

from flyteray.cli import failures, options, printing
from flyteray.cli.nouns.artifact import delete as artifact
from flyteray.cli.nouns.cache import delete as cache
from flyteray.cli.nouns.cache import delete_local as local_cache
from flyteray.cli.nouns.key import delete as key
from flyteray.cli.nouns.run import delete_run
from flyteray.cli.nouns.trigger import delete as trigger
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App, Run, Secret

_ELSEWHERE = {
    "devbox": "`flyteray down` ends the local cluster.",
}


@click.group(cls=options.Nouns, elsewhere=_ELSEWHERE, epilog=printing.examples("flyteray delete app hello"))
def delete() -> None:
    """Delete a run, an app, a secret, a key, a trigger or kept results."""


delete.add_command(artifact)
delete.add_command(key)
delete.add_command(trigger)
delete.add_command(delete_run)
delete.add_command(cache)
delete.add_command(local_cache)


@delete.command(name="app", epilog=printing.examples("flyteray delete app hello"))
@click.argument("name")
@printing.output_option
def app(name: str, output: printing.Output) -> None:
    """Stop an app and forget it; what is in flight may end first."""
    require_cluster()
    App.get(name)  # says which apps there are when there is no such one
    App.delete(name)
    printing.confirm({"name": name, "deleted": True}, output, f"App {name} is deleted.")


@delete.command(name="secret", epilog=printing.examples("flyteray delete secret OPENAI_API_KEY"))
@click.argument("name")
@printing.output_option
def secret(name: str, output: printing.Output) -> None:
    """Forget a secret; processes that were given it keep it."""
    Secret.delete(name)
    printing.confirm({"name": name, "deleted": True}, output, f"Secret {name} is deleted.")


@click.group(cls=options.Nouns, epilog=printing.examples("flyteray abort run r0123456789ab"))
def abort() -> None:
    """End a run, or an action of one."""


_reason = click.option(
    "--reason", default="Manually aborted from the CLI", show_default=True, help="Kept with it."
)


@abort.command(name="run", epilog=printing.examples('flyteray abort run r0123456789ab --reason "wrong data"'))
@click.argument("name")
@_reason
@printing.output_option
def run(name: str, reason: str, output: printing.Output) -> None:
    """End a run and all of its actions; one that has ended stays as it is."""
    require_cluster()
    aborted = Run.get(name)
    aborted.abort(reason)
    printing.record({"run": name, "phase": str(aborted.phase)}, output)


@abort.command(
    name="action", epilog=printing.examples('flyteray abort action r0123456789ab a7k2m --reason "too slow"')
)
@click.argument("run_name", metavar="RUN")
@click.argument("action")
@_reason
@printing.output_option
def action(run_name: str, action: str, reason: str, output: printing.Output) -> None:
    """Ask for the end of an action of a run and of all below it; its caller finds that it was aborted."""
    require_cluster()
    aborted = Run.get(run_name)
    with failures.users_code():
        aborted.abort_action(action, reason)
    printing.confirm({"run": run_name, "action": action}, output, f"Action {action} is asked to end.")
