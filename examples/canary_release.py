"""Release a new version to some of the users first: copies, shares, a canary, the way back.

    python examples/canary_release.py
    flyteray get app quotes --versions

Versions of an app share its requests. A `Shadow` gets copies of them, and nobody gets its answers, which are compared;
`traffic=0` starts a version that only those reach who name it; `set_traffic` gives it a share; a `Canary` does so by
itself, step by step, and takes the version back where it fails more often or is slower than the one that serves.
`rollback` undoes the last change. No request is lost meanwhile.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import httpx
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import Canary, Shadow
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App, AppVersion

api = FastAPI()


def quotes(margin: str) -> FastAPIAppEnvironment:
    return FastAPIAppEnvironment(name="quotes", app=api, env_vars={"MARGIN": margin})


first, second, third = quotes("5"), quotes("4"), quotes("four")


@api.get("/")
def quote() -> float:
    return 100 + float(os.environ["MARGIN"])


def answers(app: App, count: int, **headers: str) -> Counter[str]:
    with httpx.Client(headers=headers, timeout=60) as client:
        return Counter(client.get(app.endpoint + "/").text for _ in range(count))


def version(app: App, name: str) -> AppVersion:
    return next(each for each in app.versions() if each.name == name)


def main() -> None:
    flyte.with_servecontext(version="v1").serve(first)
    app = App.get("quotes")
    print("All have v1:  ", dict(answers(app, 20)))

    flyte.with_servecontext(version="draft", shadow=Shadow(share=100)).serve(third)
    deadline = time.monotonic() + 120
    while (shadow := version(app, "draft").shadow) is None or not shadow.compared:
        answers(app, 20)
        time.sleep(0.1)
        assert time.monotonic() < deadline, shadow
    print("A draft has:  ", set(shadow.otherwise))  # its status, and that which the users got

    flyte.with_servecontext(version="v2", traffic=0).serve(second)
    print("Testers ask:  ", dict(answers(app, 3, **{"X-Flyteray-Version": "v2"})))
    app.set_traffic({"v1": 50, "v2": 50}, sticky="X-Customer")
    users = {customer: answers(app, 5, **{"X-Customer": customer}) for customer in ("ada", "grace", "edsger")}
    print("Each customer:", all(len(seen) == 1 for seen in users.values()), "keeps a version")
    app.promote("v2")
    print("All have v2:  ", dict(answers(app, 20)))

    flyte.deploy(third, version="v3", canary=Canary(steps=(20, 50), every=5))
    deadline = time.monotonic() + 120
    while (canary := version(app, "v3").canary) and canary.outcome == "running":
        answers(app, 20)  # the users, who are the judges
        time.sleep(0.1)
        assert time.monotonic() < deadline, canary
    assert canary is not None
    print(f"v3 was {canary.outcome}: {canary.reason}")
    print("All have v2:  ", dict(answers(app, 20)))

    app.rollback()
    print("Back to v1:   ", dict(answers(app, 20)))


if __name__ == "__main__":
    main()
