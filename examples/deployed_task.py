"""Deploy a task with all that it needs, packages and a secret, and run it by name.

    python examples/deployed_task.py
    flyteray create secret SIGNING_KEY --value 0123456789
    flyteray deploy examples/deployed_task.py signing
    flyteray get task signing.sign
    flyteray run deployed-task signing.sign --text hello
    flyteray delete secret SIGNING_KEY

The task runs where its file is not: its code was kept when it was deployed. The secret is encrypted where it is kept,
and given to the task's process alone. A package that the cluster has already costs nothing.
"""

from __future__ import annotations

import hmac
import os

import flyteray as flyte
from flyteray.remote import Secret, Task

signing = flyte.TaskEnvironment(
    name="signing",
    secrets="SIGNING_KEY",
    image=flyte.Image.from_debian_base().with_pip_packages("httpx>=0.27"),
)


@signing.task
def sign(text: str) -> str:
    return hmac.new(os.environ["SIGNING_KEY"].encode(), text.encode(), "sha256").hexdigest()


def main() -> None:
    Secret.create("SIGNING_KEY", "0123456789")
    flyte.deploy(signing)
    task = Task.get("signing.sign", auto_version="latest")  # all that another process needs to know
    print(f"Signature: {flyte.run(task, text='hello').outputs()[0]}")


if __name__ == "__main__":
    main()
