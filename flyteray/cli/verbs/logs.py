"""``flyteray get logs`` and ``flyteray logs`` show what a run or an app writes."""

from __future__ import annotations

import rich_click as click
from click.exceptions import Exit

from flyteray.cli import failures, options, printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App, Run

_OF_APPS = (
    "flyteray logs app hello",
    "flyteray logs app hello --follow --show-ts",
    "flyteray logs app hello --access --follow",
)
_OF_RUNS = (
    "flyteray logs r0123456789ab --follow",
    "flyteray logs run r0123456789ab a0 --attempt 1 --show-ts",
)


class _RunByDefault(click.RichGroup):
    """A group whose commands are nouns: another word is the name of a run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments, of the command that is meant."""
        known = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if known else ["run", *args])


@click.group(cls=_RunByDefault, epilog=printing.examples(_OF_RUNS[0], _OF_APPS[0]))
def logs() -> None:
    """Show what a run or an app writes; `flyteray logs NAME` is for `flyteray logs run NAME`."""


@logs.command(epilog=printing.examples(*_OF_RUNS))
@click.argument("name")
@click.argument("action", default="a0")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl+C or until the action has ended.")
@click.option(
    "-a", "--attempt", type=click.IntRange(1), help="Which one; the last that has written anything."
)
@click.option("--show-ts", is_flag=True, help="Put the time at which a line was there before it, in UTC.")
@click.option(
    "-l",
    "--lines",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="The last lines of both streams.",
)
@options.accepted(
    "--pretty", is_flag=True, instead="-l says how many of the last lines are shown, -f shows what comes."
)
@options.accepted("--filter-system", is_flag=True, instead="What Ray itself writes is never among the lines.")
def run(name: str, action: str, follow: bool, attempt: int | None, show_ts: bool, lines: int) -> None:
    """What an action of a run has written to standard output and standard error; the run's task is action a0."""
    require_cluster()
    with failures.users_code():
        found = Run.get(name)
        if follow:
            try:
                found.show_logs(attempt, lines, show_ts, action=action, follow=True)
            except KeyboardInterrupt:
                raise Exit(failures.INTERRUPTED) from None
            return
        written = found.get_logs(attempt, show_ts=show_ts, action=action)
    if not written:
        printing.note(f"Action {action!r} of run {name!r} has written nothing.")
    for line in written[-lines:]:
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
@click.option("--access", is_flag=True, help="Show the requests to it instead, a JSON object each.")
def app(
    name: str,
    follow: bool,
    lines: int,
    show_ts: bool,
    raw: bool,
    filter_system: bool,
    replica: str | None,
    access: bool,
) -> None:
    """What the replicas of an app write to standard output and standard error."""
    if access and (show_ts or raw or filter_system or replica):
        raise click.UsageError(
            "--access goes with --follow and --lines only: an entry tells all the rest itself."
        )
    require_cluster()
    with failures.users_code():
        found = App.get(name)
        try:
            if access:
                found.show_access_log(lines, follow)
                return
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
