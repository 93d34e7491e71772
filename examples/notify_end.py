"""Have people and programs told how runs end: by Slack, Teams, mail, or as here a request to a server.

    python examples/notify_end.py
    flyteray create secret notify/oncall --value slack+https://hooks.slack.com/services/T0/B0/X
    flyteray delete secret notify/oncall

The cluster tells, also when the script has ended, and again if the server is away. An address that is a secret itself,
as a channel's webhook is, is kept as one, and named: NamedDelivery(on_phase=ActionPhase.FAILED, name="oncall").
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import flyteray as flyte
from flyteray.models import ActionPhase
from flyteray.notify import Webhook

env = flyte.TaskEnvironment(name="fragile")


@env.task
def divide(x: int, by: int) -> float:
    return x / by


class Inbox(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        print(f"Told: {body['text']}")
        self.send_response(204)
        self.end_headers()
        threading.Thread(target=self.server.shutdown).start()

    def log_message(self, *_: object) -> None: ...


def main() -> None:
    with HTTPServer(("127.0.0.1", 0), Inbox) as server:
        told = Webhook(
            on_phase=(ActionPhase.FAILED, ActionPhase.TIMED_OUT),
            url=f"http://127.0.0.1:{server.server_port}",
            body={"text": "{{.Run.Task}} {{.Phase}}: {{.Error}}"},
        )
        flyte.with_runcontext(notifications=told).run(divide, x=1, by=0)
        server.serve_forever()


if __name__ == "__main__":
    main()
