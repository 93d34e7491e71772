"""``flyteray get logs`` shows what an app or a run writes."""

from __future__ import annotations

import rich_click as click
from click.exceptions import Exit

from flyteray.cli import failures, printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App, Run

_OF_APPS = ("flyteray get logs app hello", "flyteray get logs app hello --follow --show-ts")
_OF_RUNS = ("flyteray get logs run r0123456789ab", "flyteray get logs run r0123456789ab a0.1 --attempt 1")


@click.group(epilog=printing.examples(_OF_APPS[0], _OF_RUNS[0]))
def logs() -> None:
    """Show what an app or a run writes."""


@logs.command(epilog=printing.examples(*_OF_RUNS))
@click.argument("name")
@click.argument("action", default="a0")
@click.option(
    "-a", "--attempt", type=click.IntRange(1), help="Which one; the last that has written anything."
)
@click.option(
    "-l",
    "--lines",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="The last lines of both streams.",
)
def run(name: str, action: str, attempt: int | None, lines: int) -> None:
    """What an action of a run has written to standard output and standard error; the run's task is action a0."""
    require_cluster()
    with failures.users_code():
        found = Run.get(name).get_logs(action, attempt)
    if not found:
        printing.note(f"Action {action!r} of run {name!r} has written nothing.")
    for line in found[-lines:]:
        click.echo(line)


@logs.command(epilog=printing.examples(*_OF_APPS))
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl+C or until the app is stopped.")
@click.option(
    "--lines",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="The last lines of each stream of each replica.",
)
@click.option("--show-ts", is_flag=True, help="Put the time at which a line was read before it.")
@click.option("--raw", is_flag=True, help="Leave out which replica a line is of.")
@click.option("--filter-system", is_flag=True, help="Leave out what Ray Serve writes.")
@click.option("--replica", help="Only of replicas whose id begins so.")
def app(
    name: str, follow: bool, lines: int, show_ts: bool, raw: bool, filter_system: bool, replica: str | None
) -> None:
    """What the replicas of an app write to standard output and standard error."""
    require_cluster()
    with failures.users_code():
        found = App.get(name)
        try:
            found.show_logs(
                max_lines=lines,
                show_ts=show_ts,
                raw=raw,
                filter_system=filter_system,
                replica_name=replica,
                follow=follow,
            )
        except KeyboardInterrupt:
            raise Exit(failures.INTERRUPTED) from None
