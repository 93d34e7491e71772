"""A script that creates a secret for each line that it reads and then names all there are; ``serve`` serves an app."""

from __future__ import annotations

import os
import sys

import flyteray as flyte
from flyteray import Image
from flyteray._client.session.session import session
from flyteray.app import AppEnvironment
from flyteray.errors import BaseRuntimeError
from flyteray.remote import Secret

IMAGE = Image.from_debian_base(name="bad").with_pip_packages(
    "nowhere", extra_args=os.environ.get("INDEX", "")
)
env = AppEnvironment(name="never-built", image=IMAGE, args="sleep 600", port=0)


def answer(line: str) -> str:
    if line == "serve":
        return flyte.serve(env).name
    Secret.create(line, "s3cret")
    return " ".join(sorted(secret.name for secret in Secret.listall()))


def main() -> None:
    session().connect()
    print("connected", flush=True)
    for line in map(str.strip, sys.stdin):
        try:
            print(answer(line), flush=True)
        except BaseRuntimeError as error:
            print(*str(error).split(), flush=True)  # one line


if __name__ == "__main__":
    main()
