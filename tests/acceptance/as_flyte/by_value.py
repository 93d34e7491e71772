"""Tasks without a home in any module, which travel by value."""

import flyte


def made(factor: int) -> flyte.TaskEnvironment:
    env = flyte.TaskEnvironment("as_flyte_by_value")

    @env.task
    async def scaled(x: int) -> int:
        from flyte.errors import RuntimeUserError

        assert isinstance(flyte.ctx().action.run_name, str)
        if x > 9:
            raise RuntimeUserError("TooLarge", "more than a digit")
        return factor * x

    return env


if __name__ == "__main__":
    task = made(3).tasks["as_flyte_by_value.scaled"]
    print("three times:", flyte.run(task, x=5).outputs()[0])
    try:
        flyte.run(task, 10).outputs()
    except flyte.errors.RuntimeUserError as error:
        print(error.code, "-", error)
