"""``flyteray env`` prints what a shell needs for plain Ray to use the local cluster."""

from __future__ import annotations

import json
import os
import shlex

import rich_click as click

from flyteray._cluster import local
from flyteray._settings import Settings
from flyteray.cli import printing
from flyteray.errors import ClusterError


@click.command(
    epilog=printing.examples(
        'eval "$(flyteray env)"',
        "ray status",
        "ray job submit --working-dir . -- python train.py",
        'eval "$(flyteray env --unset)"',
    )
)
@click.option("--json", "as_json", is_flag=True, help="Print the variables as a JSON object.")
@click.option("--unset", is_flag=True, help="Print what makes a shell forget them.")
def env(as_json: bool, unset: bool) -> None:
    """Print what a shell needs for plain Ray to use the local cluster.

    These are the address of the cluster and where its token is, as variables that `ray.init()`, `ray status`, `ray job`
    and `ray list` read. The exit code is 1 when no local cluster runs.
    """
    if as_json and unset:
        raise click.UsageError("Say --json or --unset, not both.")
    if unset:
        for name in local.VARIABLES:
            print(f"unset {name}")
        return
    running = local.find(Settings.load())
    if running is None:
        raise ClusterError(
            "No local cluster runs, so there is nothing to use: `flyteray up` starts it, as any run or serve does."
        )
    variables = running.shell_environment()
    if running.dashboard_url is None:
        printing.note("The dashboard of the cluster did not come up, so `ray job` has nothing to talk to.")
    if as_json:
        print(json.dumps(variables, indent=2))
        return
    if os.environ.get("RAY_AUTH_TOKEN"):
        print("unset RAY_AUTH_TOKEN")  # it would win over the path
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
