from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

from flyteray._plan.spec import CodeRef, EnvironmentSpec, TaskSpec
from flyteray._tasks.call import Call
from flyteray._tasks.children import Children


def test_an_attempt_without_children_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    task = TaskSpec(
        name="env.f", code=CodeRef(bundle="", module="m", name="f"), environment=EnvironmentSpec()
    )
    call = Call.of(task)._replace(run="r1", action="a0")
    unused: Any = None  # that sends and records: there is nothing to send
    gc.disable()
    try:
        children = Children(call, unused, unused, unused, str(tmp_path), str(tmp_path / "data"))
        left = weakref.ref(children)
        del children
        assert left() is None
    finally:
        gc.enable()
