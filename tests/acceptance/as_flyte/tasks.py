"""Tasks that call tasks, in every form of `import`."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass

import flyte
import flyte.errors
from flyte.io import File

env = flyte.TaskEnvironment("as_flyte_tasks", resources=flyte.Resources(cpu=0.5))


@dataclass
class Report:
    total: int
    words: File


@env.task
async def square(x: int) -> int:
    if x < 0:
        raise flyte.errors.NonRecoverableError("below zero")
    return x * x


@env.task
def write(text: str) -> File:
    from flyte.io import File as the_same

    assert the_same is File
    file = File.new_remote("words.txt")
    with file.open_sync("w") as stream:
        stream.write(text)
    return file


def in_a_child_process() -> None:
    child = "import flyte.app; print(flyte.app.AppEnvironment.__module__)"
    subprocess.run([sys.executable, "-c", child], check=True)


@env.task
async def main(n: int = 3) -> Report:
    in_a_child_process()
    total = sum(await asyncio.gather(*(square(i) for i in range(n))))
    try:
        await square(-1)
    except flyte.errors.NonRecoverableError as error:
        text = str(error)
    return Report(total, await write.aio(text))


if __name__ == "__main__":
    flyte.init()
    run = flyte.run(main, n=int(sys.argv[1]))
    report = run.outputs()[0]
    assert isinstance(report, Report)
    with report.words.open_sync("r") as stream:
        print(report.total, stream.read())
