"""Look back on what ran: find runs by their labels, see which action failed first, on which inputs, and for how long.

    python examples/look_back.py
    flyteray get run --with-label harvest=2026 --limit 1

All of it is recorded until the run is deleted, by hand or after `FLYTERAY_RETENTION_DAYS`.
"""

from __future__ import annotations

import flyteray as flyte
from flyteray.models import ActionPhase
from flyteray.remote import Action, Run

env = flyte.TaskEnvironment(name="cellar")


@env.task
def taste(cask: int) -> str:
    print(f"tasting cask {cask}")
    if cask == 3:
        raise ValueError("vinegar")
    return "good"


@env.task
async def taste_all(casks: int) -> list[str]:
    return [await taste.aio(cask) for cask in range(1, casks + 1)]


def main() -> None:
    flyte.with_runcontext(labels={"harvest": "2026"}).run(taste_all, casks=3).wait()

    run = Run.listall(with_labels={"harvest": "2026"}, limit=1)[0]
    print(f"The newest tasting has {run.phase}; it was asked for {run.inputs()}.")
    failure = run.first_failure()
    assert failure is not None
    print(f"What failed first: {failure.task_name} of {failure.inputs()}: {failure.error_message}.")
    print("It was", ", then ".join(str(each.phase) for each in failure.get_phase_transitions()))
    good = Action.listall(for_run_name=run.name, in_phase=ActionPhase.SUCCEEDED)
    print("Well done:", sorted(action.inputs()["cask"] for action in good))


if __name__ == "__main__":
    main()
