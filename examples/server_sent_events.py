"""Tell a browser what happens while it happens: server-sent events.

    python examples/server_sent_events.py

A model is trained in steps, and each step's accuracy reaches the client before the next step begins: nothing between
them holds it back. A browser reads such a stream with `new EventSource("/training-live/training")`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
live = FastAPIAppEnvironment(name="training-live", app=api)


@api.get("/training")
def training(steps: int = 10) -> StreamingResponse:
    """Plain `def` and a plain generator: the work is done in threads, beside the app's loop."""
    return StreamingResponse(events(steps), media_type="text/event-stream")


def events(steps: int) -> Iterator[str]:
    digits = load_digits()
    model = SGDClassifier(random_state=7)
    for step in range(steps):
        rows = slice(step * 100, (step + 1) * 100)
        model.partial_fit(digits.data[rows], digits.target[rows], classes=range(10))
        accuracy = model.score(digits.data[1500:], digits.target[1500:])
        yield f"event: step\ndata: {json.dumps({'step': step + 1, 'accuracy': round(accuracy, 3)})}\n\n"


def main() -> None:
    served = flyte.serve(live)
    with httpx.stream("GET", f"{served.endpoint}/training", timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data:"):
                print(line)
    print(f"See it arrive: curl -N {served.endpoint}/training")


if __name__ == "__main__":
    main()
