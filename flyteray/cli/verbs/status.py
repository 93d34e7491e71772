"""``flyteray status`` says what runs where, ``flyteray top`` what is asked of apps, ``flyteray whoami`` who asks."""

from __future__ import annotations

import socket
import sys
from typing import Any

import rich_click as click
from click.exceptions import Exit
from rich.console import Console
from rich.live import Live

from flyteray._client.session.session import session
from flyteray._cluster import local
from flyteray._cluster.local import LocalCluster
from flyteray._plan.info import ClusterInfo
from flyteray._settings import Settings
from flyteray._traces.asked import destination
from flyteray.cli import failures, printing
from flyteray.cli.nouns import rates
from flyteray.errors import ClusterError
from flyteray.remote import User


@click.command(epilog=printing.examples("flyteray status", "flyteray status -o json"))
@printing.output_option
def status(output: printing.Output) -> None:
    """Say what runs where. The exit code is 1 when nothing runs."""
    settings = Settings.load()
    running = local.find(settings)
    if running is None and settings.address is None:
        if output == "json":
            printing.record({"running": False}, output)
        printing.note("No local cluster runs: `flyteray up` starts one, as any run or serve does.")
        raise Exit(failures.FAILED)
    printing.record({"running": True, **facts(session().connect(), running, settings)}, output)


@click.command(epilog=printing.examples("flyteray whoami", "flyteray whoami -o json"))
@printing.output_option
def whoami(output: printing.Output) -> None:
    """Say who you are to flyteray: the user of this machine, whose home has the keys to the cluster.

    Ray knows no users: whoever reaches a cluster may do all there.
    """
    settings = Settings.load()
    facts = {"user": User.get().name(), "host": socket.gethostname(), "home": str(settings.home)}
    printing.record({**facts, "address": settings.address}, output)


@click.command(
    epilog=printing.examples("flyteray top", "flyteray top hello --interval 10", "flyteray top --json")
)
@click.argument("apps", nargs=-1, metavar="[APP]...")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    help="Seconds over which requests are counted.",
)
@click.option("--once", is_flag=True, help="Show it once, as is done where nobody looks at a terminal.")
@printing.output_option
def top(apps: tuple[str, ...], interval: float, once: bool, output: printing.Output) -> None:
    """Show requests a second, latencies, errors and replicas of apps, all the time until Ctrl+C.

    Requests count when they have ended. Latencies run from a request's headers to the answer's. A version has a line of
    its own where an app has several.
    """
    require_cluster()
    with failures.users_code():
        looks = rates.looks(apps, interval)
        if once or output == "json" or not sys.stdout.isatty():
            found = next(looks)
            shown = rates.records(found) if output == "json" else rates.lines(found)
            printing.rows(shown, output, rates.COLUMNS)
            return
        try:
            with Live(console=Console(highlight=False), auto_refresh=False) as live:
                for found in looks:
                    live.update(rates.table(found), refresh=True)
        except KeyboardInterrupt:
            return  # so it is meant to end


def require_cluster() -> None:
    """Refuse to go on (ClusterError) where no cluster is named and none runs: verbs that only look start none."""
    settings = Settings.load()
    if settings.address is None and local.find(settings) is None:
        raise ClusterError("No local cluster runs, so there is nothing to look at: `flyteray up` starts it.")


def facts(cluster: ClusterInfo, running: LocalCluster | None, settings: Settings) -> dict[str, Any]:
    """The facts to know of a cluster."""
    ours = running is not None and settings.address in (None, "local", "auto", running.address)
    shown: dict[str, Any] = {
        "address": running.address if ours and running else settings.address,
        "listens": f"{cluster.ingress_host} port {cluster.ingress_port}",
        **(
            {"tls": ", ".join(filter(None, (f"port {cluster.tls_port}", cluster.tls)))}
            if cluster.tls_port
            else {}
        ),
        "auth": "on" if cluster.auth else "off",
        "apps": cluster.endpoint_pattern.replace("{app_fqdn}", "<app>"),
        "storage": cluster.storage,
    }
    if cluster.traces:
        shown["traces"] = destination(cluster.traces)
    if len(cluster.machines) > 1:
        shown["machines"] = cluster.machines
    if ours and running:
        shown |= {
            "dashboard": running.dashboard_url,
            "started_at": running.started_at,
            "home": str(settings.home),
            "processes": len(running.pids()),
        }
    return shown
