"""A task to be deployed, which is run later by its name."""

import flyte

env = flyte.TaskEnvironment(name="as_flyte_nightly", env_vars={"GREETING": "good night"})


@env.task
async def main(name: str = "moon") -> str:
    import os

    return f"{os.environ['GREETING']}, {name}"
