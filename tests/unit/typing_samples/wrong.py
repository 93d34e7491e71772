"""User code that a type checker must reject: each line marked with the code of its error, and no other line."""

import flyteray
from flyteray import Resources, TaskEnvironment
from flyteray.app import AppEnvironment, Parameter

env = TaskEnvironment("calc")


@env.task
def double(x: int) -> float:
    return 2.0 * x


@env.task
async def triple(x: int) -> int:
    return 3 * x


env.task(retrys=3)  # expect: call-overload


async def parent() -> None:
    double("3")  # expect: arg-type
    double(3, 4)  # expect: call-arg
    await triple("3")  # expect: arg-type
    await triple.aio("3")  # expect: arg-type
    await double.aio(y=3)  # expect: call-arg
    text: str = await triple(3)  # expect: assignment
    await double(3)  # expect: misc
    print(text)


TaskEnvironment("train", gpu=1)  # expect: call-arg
TaskEnvironment("train", env_vars={"A": 1})  # expect: dict-item
Resources(memory=4)  # expect: arg-type
AppEnvironment("api", port="80")  # expect: arg-type
Parameter("p", 3)  # expect: arg-type
flyteray.run(triple, "3")  # expect: arg-type
flyteray.run(double, y=3)  # expect: call-arg
flyteray.run(double.func, 3)  # expect: arg-type
