"""Try tasks and apps without a cluster: in local mode.

    python examples/local_mode.py
    python -m pdb -c "break 37" -c continue -c "print(f'{grams=}')" -c quit examples/local_mode.py
    flyteray run --local examples/local_mode.py postage --grams 20
    flyteray serve examples/local_mode.py files
    flyteray delete app files

A task runs in the calling process, where `breakpoint()` and any debugger stop in it. An app runs in a process beside
it, which ends with it. The last two commands serve the same app on a cluster.
"""

from __future__ import annotations

import httpx

import flyteray as flyte
from flyteray.app import AppEnvironment, Timeouts

post = flyte.TaskEnvironment(name="post")
files = AppEnvironment(
    name="files",
    command="python -m http.server 8080 --bind 127.0.0.1 --directory $FOLDER",  # each replica has another port
    env_vars={"FOLDER": "."},
    include=("local_mode.py",),  # what it serves
    timeouts=Timeouts(request=30),
)


@post.task
async def cents_per_gram(grams: int) -> int:
    return 3 if grams > 500 else 5


@post.task
async def postage(grams: int) -> int:
    return grams * await cents_per_gram(grams)


def main() -> None:
    run = flyte.with_runcontext(mode="local").run(postage, grams=1000)
    print(f"Postage: {run.outputs()[0]}")
    with flyte.with_servecontext(mode="local").serve(files).ephemeral_ctx_sync() as served:
        page = httpx.get(f"{served.endpoint}/local_mode.py").text
        print(f"Served:  {page.splitlines()[0]}")


if __name__ == "__main__":
    main()
