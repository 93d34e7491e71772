"""Do nothing twice: what a run has done is kept, and an attempt goes on from it.

    python examples/go_on.py

A task that is tried again, because it failed or because its process, its machine or the whole cluster was lost, is
given what its calls of tasks and of traced functions gave before, the times that it was told, and what it has saved. A
run that failed for good is run again with `recover=True`, and does the rest.
"""

from __future__ import annotations

import asyncio

import flyteray as flyte

env = flyte.TaskEnvironment(name="surveys")


@flyte.trace
async def ask(question: str) -> str:
    """Ask a service that costs money: once."""
    print(f"asking {question!r}")
    await asyncio.sleep(0.1)
    return question.upper()


@env.task
def count(words: str) -> int:
    print(f"counting {words!r}")
    return len(words.split())


@env.task(retries=1)
async def survey(questions: list[str]) -> dict[str, int]:
    began = await flyte.durable.now.aio()
    found = {}
    for question in questions:
        found[question] = await count.aio(await ask(question))
    if flyte.ctx().attempt_number == 0:
        raise ConnectionError("the line is broken")
    print(f"Began at {began:%H:%M:%S}, ended in attempt {flyte.ctx().attempt_number + 1}.")
    return found


@env.task(retries=2)
def train(epochs: int) -> list[int]:
    """Go on from the last epoch that was saved."""
    checkpoint = flyte.ctx().checkpoint
    assert checkpoint is not None
    saved = checkpoint.load_sync()
    first = int(saved.read_text()) if saved else 0
    done = []
    for epoch in range(first, epochs):
        checkpoint.save_sync(str(epoch + 1).encode())
        done.append(epoch)
        if epoch % 2 and epoch + 1 < epochs:
            raise MemoryError(f"epoch {epoch} was too much")
    return done


@env.task
async def deliver(broken: bool) -> str:
    words = await ask("what shall we send?")
    if broken:
        raise ValueError("the truck is broken")
    return f"delivered {words}"


def main() -> None:
    run = flyte.run(survey, ["how are you?", "and now?"])
    print("Found:   ", run.outputs()[0])
    asked = [line for line in run.get_logs(attempt=1) if "asking" in line]
    again = [line for line in run.get_logs(attempt=2) if "asking" in line]
    print("Asked:   ", len(asked), "and again", len(again))
    print("Trained: ", flyte.run(train, 6).outputs()[0], "in the last attempt")

    failed = flyte.run(deliver, broken=True)
    failed.wait()
    mended = flyte.rerun(failed.name, recover=True, broken=False)
    print(
        "Mended:  ",
        mended.outputs()[0],
        "|",
        sum("asking" in line for line in mended.get_logs()),
        "asked again",
    )


if __name__ == "__main__":
    main()
