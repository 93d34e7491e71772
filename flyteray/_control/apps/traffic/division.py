"""The traffic of an app is divided among its versions, as users ask for it. No effects here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from flyteray._control.apps.state import AppRecord, VersionRecord, with_share
from flyteray._declare.near import did_you_mean
from flyteray._declare.options.shares import checked_shares, checked_sticky, main_version
from flyteray._plan.info import AppVersion, CanaryFigures, CanaryInfo, ShadowFigures, ShadowInfo
from flyteray._plan.traffic.canary import CanaryRecord
from flyteray._plan.traffic.figures import CLASSES, Figures
from flyteray._plan.traffic.shadow import ShadowRecord
from flyteray.errors import RuntimeUserError


def divided(
    app: AppRecord,
    versions: Sequence[VersionRecord],
    shares: Mapping[str, int],
    sticky: str | None,
    at: datetime,
) -> AppRecord:
    """An app whose versions are to have these percent of its requests; errors as of the door's ``set_traffic``."""
    known = {
        version_named(app.name, versions, name).id: share for name, share in checked_shares(shares).items()
    }
    return _asked(app, known, checked_sticky(sticky), at)


def version_named(app: str, versions: Sequence[VersionRecord], name: str) -> VersionRecord:
    """A version of an app by its name or id; ValueError with those that there are where it has none."""
    for version in versions:
        if name in (version.id, version.spec.version_name):
            return version
    names = [version.spec.version_name for version in versions]
    raise ValueError(
        f"App {app!r} has no version {name!r}. Its versions: {', '.join(names)}.{did_you_mean(name, names)}"
    )


def refuse_shadow(name: str, app: AppRecord | None, version: str, shown: str) -> None:
    """Raise why a version can't be the shadow of an app.

    Raises:
        RuntimeUserError: No version serves whose requests could be copied.
        ValueError: Users are to get answers of this one, or do.
    """
    if app is None or app.desired == "stopped" or app.serving is None:
        raise RuntimeUserError(
            "NothingToCopy",
            f"App {name!r} has no version that serves, so there are no requests to copy. {_who_serves(app)}",
        )
    if version in (app.serving, app.target):
        raise ValueError(
            f"Version {shown!r} of app {name!r} serves, or is about to: it can't be its own shadow. Name another one."
        )
    if share := max(app.shares.get(version, 0), app.routed.get(version, 0)):
        raise ValueError(
            f"Version {shown!r} of app {name!r} has {share} percent of the requests, and nobody gets the answers of a "
            f'shadow. Give it none first: set_traffic({{..., "{shown}": 0}}).'
        )


def _who_serves(app: AppRecord | None) -> str:
    """What to do where no version of an app serves."""
    if app is None:
        return "Serve one first."
    if app.desired == "stopped":
        return "It is stopped: start it first, with App.activate(wait=True)."
    return "Wait for the one that comes up first, with App.wait()."


def rolled_back(app: AppRecord, versions: Sequence[VersionRecord], at: datetime) -> AppRecord:
    """An app as it was before the last change of its traffic; errors as of the door's ``rollback``."""
    changing = app.serving is not None and (app.target != app.serving or app.shares or app.routed)
    known = {version.id for version in versions}
    before = app.serving if changing else app.previous if app.previous in known else None
    if before is None:
        raise RuntimeUserError(
            "NoVersionBefore", f"App {app.name!r} has no version that served before the one that serves now."
        )
    return _asked(app, {before: 100}, None, at)


def beside(app: AppRecord | None, version: str, share: int) -> tuple[str, Mapping[str, int]]:
    """The target of an app of which a new version is to have a share of the requests, and the shares beside it.

    Versions that share the requests now keep their proportions.
    """
    if app is None or app.desired == "stopped" or app.serving in (None, version) or share == 100:
        return version, {}
    return app.serving, with_share(app.routed, version, share)


def version_infos(
    app: AppRecord, versions: Sequence[VersionRecord], ready: Mapping[str, int]
) -> list[AppVersion]:
    """What users see of an app's versions, newest first; ``ready`` are the replicas that are ready, by version."""
    now, wanted = app.divided(), {app.target: 100 - sum(app.shares.values()), **app.shares}
    if app.desired == "stopped":
        now = wanted = {}
    return [
        AppVersion(
            name=version.spec.version_name,
            id=version.id,
            revision=version.revision,
            phase=version.phase.value,
            share=now.get(version.id, 0),
            wanted=wanted.get(version.id, 0),
            ready_replicas=ready.get(version.id, 0),
            created_at=version.created_at,
            error=version.error,
            canary=_canary(version.canary) if version.canary else None,
            shadow=_shadow(version.shadow) if version.shadow else None,
        )
        for version in sorted(versions, key=lambda version: version.revision, reverse=True)
    ]


def _canary(canary: CanaryRecord) -> CanaryInfo:
    return CanaryInfo(
        outcome=canary.outcome,
        reason=canary.reason,
        step=canary.step + 1,
        steps=canary.spec.steps,
        canary=_figures(canary.evidence.canary),
        serving=_figures(canary.evidence.serving),
    )


def _shadow(shadow: ShadowRecord) -> ShadowInfo:
    compared = shadow.compared
    return ShadowInfo(
        outcome=shadow.outcome,
        reason=shadow.reason,
        share=shadow.spec.share,
        safe_only=shadow.spec.safe_only,
        beside=shadow.beside,
        copied=compared.copied,
        left_out=dict(compared.left_out),
        compared=compared.shadow.requests,
        otherwise=dict(compared.otherwise),
        shadow=_answers(compared.shadow),
        live=_answers(compared.live),
    )


def _answers(figures: Figures) -> ShadowFigures:
    counted = zip(CLASSES, figures.classes, strict=True)
    return ShadowFigures(
        classes={name: count for name, count in counted if count},
        p50_s=figures.quantile(0.5),
        p90_s=figures.quantile(0.9),
    )


def _figures(figures: Figures) -> CanaryFigures:
    return CanaryFigures(
        requests=figures.requests,
        error_rate=figures.error_rate,
        p50_s=figures.quantile(0.5),
        p90_s=figures.quantile(0.9),
    )


def _asked(app: AppRecord, shares: Mapping[str, int], sticks: str | None, at: datetime) -> AppRecord:
    if app.desired == "stopped":
        raise RuntimeUserError(
            "AppStopped",
            f"App {app.name!r} is stopped: nobody has its traffic. Start it first: App.activate().",
        )
    main = main_version(shares, app.serving)
    others = {version: share for version, share in shares.items() if version != main}
    return replace(app, target=main, shares=others, sticks=sticks, updated_at=at)
