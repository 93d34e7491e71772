"""An app that is a Python program of its own."""

import flyte
from flyte.app import AppEnvironment, Parameter

env = AppEnvironment(
    "as-flyte-program",
    args=["python", "program_server.py"],
    port=0,
    include=("program_server.py",),
    parameters=[Parameter("word", "hello")],
    requires_auth=False,
    resources=flyte.Resources(cpu=0),
)

if __name__ == "__main__":
    import urllib.request

    app = flyte.with_servecontext(mode="local").serve(env)
    with app.ephemeral_ctx_sync(), urllib.request.urlopen(app.endpoint) as answer:
        print("it says", answer.read().decode())
