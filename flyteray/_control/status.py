"""What is told about an app: its records seen from outside. No effects here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flyteray._control.reached import links, own_hosts
from flyteray._control.state import AppRecord, ReplicaRecord, VersionPhase, VersionRecord
from flyteray._plan.spec import AppInfo, AppPhase, ClusterInfo


def app_info(
    app: AppRecord,
    versions: Mapping[str, VersionRecord],
    replicas: Iterable[ReplicaRecord],
    cluster: ClusterInfo,
    waiting: str | None = None,
    replicas_wanted: int | None = None,
) -> AppInfo:
    """An app with the replicas and the lineage of the version that serves, or else of the one that is coming up.

    ``waiting`` is what the target's replicas wait for, ``replicas_wanted`` how many its traffic asks for.
    """
    target = versions[app.target]
    shown = versions.get(app.serving or "", target)
    ready = sum(1 for replica in replicas if replica.info.version == shown.id)
    url = cluster.url(shown.spec.subdomain or app.name)
    return AppInfo(
        name=app.name,
        phase=_phase(app, target, ready),
        desired=app.desired,
        version=app.serving,
        target=app.target,
        revision=app.revision,
        ready_replicas=ready,
        replicas=replicas_wanted or shown.spec.replicas,
        url=url,
        endpoint=cluster.endpoint(app.name),
        created_at=app.created_at,
        updated_at=app.updated_at,
        error=target.error,
        waiting=waiting,
        hosts=own_hosts(shown.spec),
        links=links(shown.spec, url),
        lineage={
            parameter.name: parameter.output.run_name
            for parameter in shown.spec.parameters
            if parameter.output is not None and parameter.output.run_name is not None
        },
    )


def _phase(app: AppRecord, target: VersionRecord, ready: int) -> AppPhase:
    if app.desired == "stopped":
        return AppPhase.STOPPED
    if target.phase is VersionPhase.FAILED:
        return AppPhase.FAILED
    if app.serving == app.target and target.phase is VersionPhase.READY and ready:
        return AppPhase.ACTIVE
    return AppPhase.DEPLOYING
