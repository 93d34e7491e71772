"""The status of an app is told from its records. No effects here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from flyteray._control.apps.hosts import links, own_hosts
from flyteray._control.apps.state import AppRecord, ReplicaRecord, VersionPhase, VersionRecord
from flyteray._plan.info import AppInfo, AppPhase, ClusterInfo, Lineage, ReplicaInfo, ReplicaStatus
from flyteray._plan.spec import ParameterSpec


def app_info(
    app: AppRecord,
    versions: Mapping[str, VersionRecord],
    replicas: Iterable[ReplicaRecord],
    cluster: ClusterInfo,
    waiting: str | None = None,
    replicas_wanted: int | None = None,
    resting: bool = False,
    unreached: Mapping[str, Sequence[str]] | None = None,
    why: str | None = None,
) -> AppInfo:
    """An app with the replicas and the lineage of the version that serves, or else of the one that is coming up.

    ``waiting`` tells why the target's replicas wait, ``replicas_wanted`` how many its traffic asks for, and ``resting``
    whether the version that serves sleeps or is being woken. ``unreached`` has the machines that others do not reach,
    ``why`` what the number of replicas follows.
    """
    target = versions[app.target]
    shown = versions.get(app.serving or "", target)
    here = [replica.info for replica in replicas if replica.info.version == shown.id]
    ready = len(here)
    url = cluster.url(app.name, shown.spec.subdomain)
    return AppInfo(
        name=app.name,
        phase=_phase(app, versions, ready > 0 or resting),
        desired=app.desired,
        version=app.serving,
        target=app.target,
        revision=app.revision,
        ready_replicas=ready,
        replicas=shown.spec.replicas if replicas_wanted is None else replicas_wanted,
        url=url,
        endpoint=cluster.endpoint(app.name),
        created_at=app.created_at,
        updated_at=app.updated_at,
        error=target.error,
        waiting=waiting,
        scaling=why,
        asleep=app.desired == "active" and resting and replicas_wanted == 0,
        hosts=own_hosts(shown.spec),
        links=links(shown.spec, url),
        traffic={
            versions[version].spec.version_name: share
            for version, share in app.divided().items()
            if app.routed and app.desired == "active"
        },
        lineage={
            parameter.name: _lineage(parameter, {replica.outputs.get(parameter.name) for replica in here})
            for parameter in shown.spec.parameters
            if parameter.output is not None or parameter.hash is not None
        },
        replica_list=tuple(
            _replica(each, (unreached or {}).get(each.host, ()))
            for each in sorted(here, key=lambda each: each.replica_id)
        ),
    )


def _lineage(parameter: ParameterSpec, served: AbstractSet[str | None]) -> Lineage:
    output = parameter.output
    if output is None:
        return Lineage(hash=parameter.hash)
    return Lineage(
        run=next(iter(served)) if output.follow and len(served) == 1 else output.run_name,
        output="outputs" + "".join(f"[{step!r}]" for step in output.getter),
        hash=parameter.hash,
        follow=output.follow,
    )


def _replica(info: ReplicaInfo, unreached_by: Sequence[str]) -> ReplicaStatus:
    return ReplicaStatus(
        name=info.replica_id,
        host=info.host,
        port=info.port,
        outputs=info.outputs,
        refused=info.refused,
        blocked=info.blocked,
        unwell=info.unwell,
        working=info.working,
        unreached_by=tuple(unreached_by),
    )


def _phase(app: AppRecord, versions: Mapping[str, VersionRecord], answers: bool) -> AppPhase:
    if app.desired == "stopped":
        return AppPhase.STOPPED
    if versions[app.target].phase is VersionPhase.FAILED:
        return AppPhase.FAILED
    is_as_wanted = (app.serving, app.routed) == (app.target, app.shares)
    # One that was stopped comes back with the shares that it had.
    all_ready = all(versions[each].phase is VersionPhase.READY for each in (app.target, *app.shares))
    if is_as_wanted and all_ready and answers:
        return AppPhase.ACTIVE
    return AppPhase.DEPLOYING
