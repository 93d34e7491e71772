"""``flyteray get logs`` shows what an app writes."""

from __future__ import annotations

import rich_click as click
from click.exceptions import Exit

from flyteray.cli import failures, printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App

_EXAMPLES = printing.examples("flyteray get logs app hello", "flyteray get logs app hello --follow --show-ts")


@click.group(epilog=_EXAMPLES)
def logs() -> None:
    """Show what an app writes."""


@logs.command(epilog=_EXAMPLES)
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
