"""A script that serves an app in local mode and then ends in the way that its argument names."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import httpx
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
env = FastAPIAppEnvironment(name="outlived", app=api, port=0)


@api.get("/")
def processes() -> list[int]:
    """The app's process, and one that it has started in a session of its own and forgotten."""
    forgotten = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return [os.getpid(), forgotten.pid]


@env.on_shutdown
def end() -> None:
    print("this must not fail when nobody reads it any more", flush=True)
    with open(os.environ["NOTES"], "a") as file:
        file.write("shut down in order")


def main() -> None:
    app = flyte.with_servecontext(mode="local", activate_timeout=180, deactivate_timeout=60).serve(env)
    print(*httpx.get(app.url, timeout=60).json(), flush=True)
    if sys.argv[1] == "exception":
        raise RuntimeError("the caller fails")
    if sys.argv[1] != "return":
        threading.Event().wait(600)


if __name__ == "__main__":
    main()
