"""``flyteray update`` starts or stops an app, or switches a trigger; ``flyteray signal`` answers a condition."""

from __future__ import annotations

import rich_click as click

from flyteray._plan.info import to_json
from flyteray.app.shadow import Shadow
from flyteray.cli import options, printing, rollout
from flyteray.cli.nouns.condition import signal as condition
from flyteray.cli.nouns.trigger import update as trigger
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App

_ELSEWHERE = {
    "project": "Ray has none: all runs and apps of a cluster are in one place.",
}


@click.group(
    cls=options.Nouns,
    elsewhere=_ELSEWHERE,
    epilog=printing.examples(
        "flyteray update app hello --deactivate",
        "flyteray update app hello --activate --wait",
        "flyteray update app hello --traffic v1=95 --traffic v2=5",
    ),
)
def update() -> None:
    """Start or stop an app, divide its requests among its versions, or switch a trigger on or off."""


update.add_command(trigger)


@click.group(
    cls=options.Nouns, epilog=printing.examples("flyteray signal condition r0123456789ab approval true")
)
def signal() -> None:
    """Answer a condition that a run waits for."""


signal.add_command(condition)


@update.command(
    name="app",
    epilog=printing.examples(
        "flyteray update app hello --deactivate --wait",
        "flyteray update app hello --traffic v1=95 --traffic v2=5",
        "flyteray update app hello --shadow v2=10",
        "flyteray update app hello --rollback",
    ),
)
@click.argument("name")
@click.option("--activate/--deactivate", default=None, help="Start it, or stop it.")
@click.option("--wait", is_flag=True, help="Return when it serves, or when its replicas have ended.")
@click.option(
    "--traffic",
    metavar="VERSION=PERCENT",
    multiple=True,
    help="Divide its requests among versions; given for each of them, 100 together.",
)
@click.option(
    "--sticky", help="With --traffic, what keeps a client to a version: cookie, or the name of a header."
)
@click.option("--promote", metavar="VERSION", help="Give all requests to a version.")
@click.option("--rollback", is_flag=True, help="Undo the last change of its traffic.")
@click.option(
    "--shadow",
    metavar="VERSION=PERCENT",
    multiple=True,  # so that a second one is refused instead of taken for the first
    help="Have a version get copies of so many of its requests; nobody gets its answers.",
)
@click.option("--shadow-safe-only", is_flag=True, help="With --shadow, copy only GET, HEAD and OPTIONS.")
@click.option("--end-shadow", is_flag=True, help="Copy no more requests, and end the replicas of the shadow.")
@printing.output_option
def app(
    name: str,
    activate: bool | None,
    wait: bool,
    traffic: tuple[str, ...],
    sticky: str | None,
    promote: str | None,
    rollback: bool,
    shadow: tuple[str, ...],
    shadow_safe_only: bool,
    end_shadow: bool,
    output: printing.Output,
) -> None:
    """Start or stop an app, or divide its requests among its versions; its name and versions stay."""
    asked = (
        activate is not None,
        bool(traffic),
        promote is not None,
        rollback,
        bool(shadow),
        end_shadow,
    )
    if sum(asked) != 1:
        raise click.UsageError(
            "Say one of --activate, --deactivate, --traffic, --promote, --rollback, --shadow and --end-shadow."
        )
    if shadow_safe_only and not shadow:
        raise click.UsageError("--shadow-safe-only is said together with --shadow.")
    if sticky is not None and not traffic:
        raise click.UsageError("--sticky is said together with --traffic.")
    shares = _shares(traffic)
    copied = _copied(shadow, shadow_safe_only) if shadow else None
    require_cluster()
    handle = App.get(name)
    try:
        if activate is not None:
            handle.activate(wait=wait) if activate else handle.deactivate(wait=wait)
        elif promote is not None:
            handle.promote(promote)
        elif rollback:
            handle.rollback()
        elif copied is not None:
            handle.set_shadow(*copied)
        elif end_shadow:
            handle.set_shadow(None)
        else:
            handle.set_traffic(shares, sticky)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    handle.sync()
    printing.record(to_json(handle.info), output, ["name", "phase", "desired", "url", "version"])


def _copied(shadows: tuple[str, ...], safe_only: bool) -> tuple[str, Shadow]:
    if len(shadows) > 1:
        raise click.UsageError(
            f"An app has one shadow at a time: say one --shadow, not {' and '.join(shadows)}."
        )
    [given] = shadows
    [(version, percent)] = printing.pairs("--shadow", shadows).items()
    try:
        share = float(percent)
    except ValueError:
        raise click.UsageError(
            f"--shadow {given}: the share is a number of percent, as in {version}=10."
        ) from None
    return version, rollout.parsed_shadow(f"--shadow {given}", share, safe_only)


def _shares(given: tuple[str, ...]) -> dict[str, int]:
    shares = {}
    for version, percent in printing.pairs("--traffic", given).items():
        try:
            shares[version] = int(percent)
        except ValueError:
            raise click.UsageError(
                f"--traffic {version}={percent}: the share is a whole number of percent, as in {version}=5."
            ) from None
    return shares
