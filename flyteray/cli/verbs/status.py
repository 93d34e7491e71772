"""``flyteray status`` says what runs where."""

from __future__ import annotations

from typing import Any

import rich_click as click
from click.exceptions import Exit

from flyteray._client.session.session import session
from flyteray._cluster import local
from flyteray._cluster.local import LocalCluster
from flyteray._plan.info import ClusterInfo
from flyteray._settings import Settings
from flyteray.cli import failures, printing
from flyteray.errors import ClusterError


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
        "auth": "on" if cluster.auth else "off",
        "apps": cluster.endpoint_pattern.replace("{app_fqdn}", "<app>"),
        "storage": cluster.storage,
    }
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
