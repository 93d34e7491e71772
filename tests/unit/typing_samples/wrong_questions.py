"""Questions to actors that a type checker refuses."""

from __future__ import annotations

from flyteray._actors.controller import Runs, controller
from flyteray._actors.keeper import Keeper, keeper
from flyteray._actors.questions import ask
from flyteray._ingress.door import ingress_at
from flyteray._plan.spec import RunSpec
from flyteray._plan.values.pickling import Payload


async def misspelt() -> None:
    await controller().runs.gett("r1")  # expect: attr-defined
    await controller().run.get("r1")  # expect: attr-defined
    await keeper().hold()  # expect: attr-defined
    await ingress_at("10.0.0.7").session([1])  # expect: attr-defined


async def wrongly_asked() -> None:
    await controller().runs.get(1)  # expect: arg-type
    await controller().apps.set_desired("a", "paused")  # expect: arg-type
    await controller().secrets.take({"TOKEN": "text"})  # expect: dict-item
    await keeper().cancel()  # expect: call-arg
    await ingress_at("10.0.0.7").need("long")  # expect: arg-type


def wrongly_understood() -> int:
    return ask(controller().code.get("0123"))  # expect: return-value


class Forgetful(Keeper):
    async def holds(self) -> list[int]:  # expect: override
        return []

    async def submit(self, spec: RunSpec, inputs: Payload, late: bool) -> None:  # expect: override
        pass


def one_that_does_not_answer_all() -> Runs:
    class Half(Runs):
        async def abort(self, name: str, reason: str) -> None:
            pass

    return Half()  # expect: abstract
