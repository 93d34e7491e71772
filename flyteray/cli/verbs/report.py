"""``flyteray get report`` shows the report of a run."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path

import rich_click as click

from flyteray import _private
from flyteray.cli import failures, printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import Run


@click.command(
    epilog=printing.examples(
        "flyteray get report r0123456789ab --open",
        "flyteray get report r0123456789ab a0.1 --attempt 1 > report.html",
        "flyteray get report r0123456789ab --output report.html",
    )
)
@click.argument("name")
@click.argument("action", default="a0")
@click.option("-a", "--attempt", type=click.IntRange(1), help="Which one; the last that has a report.")
@click.option("--open", "shown", is_flag=True, help="Show it in a browser, and print the path of the file.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write it to this file, and print the path.",
)
def report(name: str, action: str, attempt: int | None, shown: bool, output: Path | None) -> None:
    """The report of an action of a run, as HTML; the run's task is action a0.

    Tasks that are declared with report=True make one by flyteray.report. While it runs a task's report is as it was
    when the task wrote it last.
    """
    require_cluster()
    with failures.users_code():
        page = Run.get(name).get_report(attempt, action=action)
        if output is None and not shown:
            click.echo(page)
            return
        path = (output or Path(tempfile.mkdtemp(prefix="flyteray-")) / f"{name}-{action}.html").absolute()
        _private.write(path, page)
    click.echo(path)
    if shown and not webbrowser.open(path.as_uri()):
        printing.note("No browser could be started here: open that file in one.")
