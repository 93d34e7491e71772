"""Old runs are found in the registry, with those of them that are needed still, and forgotten."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select

from flyteray._control.registry.apps import AppRecords
from flyteray._control.registry.database import Database
from flyteray._control.registry.runs import RunRecords
from flyteray._control.registry.tables import actions, artifacts, attempts, conditions, inputs, notices, runs
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import AppSpec, OutputRef

_ENDED = [phase for phase in ActionPhase if phase.is_terminal]


class RetentionRecords:
    """What the registry knows of how long runs are kept."""

    def __init__(self, database: Database, records: RunRecords, apps: AppRecords) -> None:
        self._database = database
        self._runs = records
        self._apps = apps

    def ended_before(self, time: datetime) -> list[str]:
        """The runs that have ended before a time, oldest first."""
        ended = (runs.c.ended_at < time) & runs.c.phase.in_(_ENDED)
        with self._database.read() as connection:
            return list(connection.scalars(select(runs.c.name).where(ended).order_by(runs.c.id)))

    def needed(self, place: str) -> dict[str, str]:
        """The runs whose outputs or files somebody needs, and who that is; ``place`` is where the files of runs are."""
        found: dict[str, str] = {}
        for record in self._apps.load_versions():
            found |= dict.fromkeys(self._taken(record.spec, place), f"app {record.spec.name!r}")
        for replica in self._apps.load_replicas():
            found |= dict.fromkeys(replica.info.outputs.values(), f"replica {replica.info.replica_id!r}")
        for name in self._runs.unfinished():
            source = self._runs.spec(name).wide.recovers
            if source is not None:
                found[source] = f"run {name!r}, which recovers it"
        with self._database.read() as connection:
            for spec in connection.scalars(select(artifacts.c.spec)):
                if spec.run is not None:
                    found[spec.run] = f"artifact {spec.name!r}"
        return found

    def forget(self, run: str) -> None:
        """Delete all that is recorded of a run."""
        with self._database.write() as connection:
            for table in (actions, attempts, inputs, conditions, notices):
                connection.execute(delete(table).where(table.c.run == run))
            connection.execute(delete(runs).where(runs.c.name == run))

    def _taken(self, spec: AppSpec, place: str) -> set[str]:
        found = set()
        for parameter in spec.parameters:
            if parameter.output is not None and (run := self._run_of(parameter.output)):
                found.add(run)
            if parameter.value is not None and parameter.value.startswith(place):
                found.add(parameter.value.removeprefix(place).partition("/")[0])
        return found

    def _run_of(self, ref: OutputRef) -> str | None:
        if ref.run_name is not None:
            return ref.run_name
        return self._runs.newest_success(ref.task_name or "", ref.task_version)
