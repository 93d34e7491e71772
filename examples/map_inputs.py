"""Call a task for each of many inputs, as many at a time as you like: `flyteray.map`.

    python examples/map_inputs.py

Results come one by one in the order of the inputs, which are read as there is room for them. What fails is a result as
well, and all that belongs together has a group by which `flyteray get run NAME --tree` shows it.
"""

from __future__ import annotations

import functools

import flyteray as flyte

env = flyte.TaskEnvironment(name="orchard")


@env.task
def juice(apples: int, litres_per_apple: float = 0.1) -> float:
    if apples < 0:
        raise ValueError(f"{apples} apples")
    return apples * litres_per_apple


@env.task
async def press(harvest: list[int]) -> tuple[list[float], list[str]]:
    pressed, left_out = [], []
    with_press = functools.partial(juice, litres_per_apple=0.15)
    async for litres in flyte.map.aio(with_press, harvest, group_name="pressing", concurrency=4):
        if isinstance(litres, Exception):
            left_out.append(str(litres))
        else:
            pressed.append(litres)
    return pressed, left_out


@env.task
def press_all(harvest: list[int]) -> float:
    return sum(flyte.map(juice, harvest, return_exceptions=False))


def main() -> None:
    pressed, left_out = flyte.run(press, harvest=[10, 20, -1, 40]).outputs()
    print("By the press:", pressed)
    print("Left out:    ", left_out)
    print("By hand:     ", flyte.run(press_all, harvest=[10, 20, 40]).outputs()[0])


if __name__ == "__main__":
    main()
