"""The options of a rollout: what share of an app's requests a new version has, at once or step by step."""

from __future__ import annotations

from typing import Any

import rich_click as click

from flyteray.app.canary import Canary
from flyteray.app.shadow import Shadow
from flyteray.cli import options as of_verbs

_TRAFFIC = click.option(
    "--traffic",
    type=click.IntRange(0, 100),
    default=100,
    metavar="PERCENT",
    help="Of the requests, for the new version beside the one that serves. Default: all.",
)
_CANARY = click.option(
    "--canary",
    metavar="PERCENT,...",
    help="It has so many in turn, and all at the end; where it is worse it is taken back. As in 5,25,50.",
)
_EVERY = click.option(
    "--canary-every", type=float, metavar="SECONDS", help="How long each step lasts. Default: 60."
)

_SHADOW = click.option(
    "--shadow",
    type=float,
    metavar="PERCENT",
    help="Of the requests, of which it gets copies, while users are answered by the version that serves.",
)

options = of_verbs.together(_TRAFFIC, _CANARY, _EVERY, _SHADOW)


def rollout(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a verb with what its options say of a rollout; UsageError where that makes no sense."""
    steps, every, shadow = settings.pop("canary"), settings.pop("canary_every"), settings.pop("shadow")
    if steps is None and every is not None:
        raise click.UsageError("--canary-every is said together with --canary.")
    if shadow is not None and (steps is not None or settings["traffic"] != 100):
        raise click.UsageError(
            "Say one of --traffic, --canary and --shadow: a shadow has no share of the requests."
        )
    if shadow is not None:
        return {**settings, "shadow": parsed_shadow("--shadow", shadow)}
    if steps is None:
        return settings
    if settings["traffic"] != 100:
        raise click.UsageError("Say --traffic or --canary, not both: a canary has shares of its own.")
    try:
        percents = [int(step) for step in steps.split(",")]
        canary = Canary(steps=percents) if every is None else Canary(steps=percents, every=every)
    except ValueError as error:
        raise click.UsageError(f"--canary {steps}: {error}") from None
    return {**settings, "canary": canary}


def parsed_shadow(option: str, share: float, safe_only: bool = False) -> Shadow:
    """The shadow that is meant; UsageError where that makes no sense."""
    try:
        return Shadow(share=share, safe_only=safe_only)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
