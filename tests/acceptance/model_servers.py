"""Language models served by stand-ins: programs that are called as the real servers are and tell how."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import flyteray as flyte
from flyteray.app import RunOutput
from flyteray.app.extras import SGLangAppEnvironment, VLLMAppEnvironment
from flyteray.io import Dir

STAND_IN = """#!{python}
import http.server, json, os, sys

def option(name):
    return sys.argv[sys.argv.index(name) + 1]

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        folders = [each for each in sys.argv if os.path.isdir(each)]
        told = {{"argv": sys.argv[1:], "files": [sorted(os.listdir(each)) for each in folders]}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

http.server.ThreadingHTTPServer((option("--host"), int(option("--port"))), Answer).serve_forever()
"""

folder = Path(os.environ.get("STAND_INS", "."))
training = flyte.TaskEnvironment(name="model-servers")


def make_stand_ins(folder: Path) -> None:
    """``vllm``, ``sglang.launch_server`` and a folder of weights."""
    text = STAND_IN.format(python=sys.executable)
    program, module = folder / "bin" / "vllm", folder / "sglang" / "launch_server.py"
    for file in (program, module):
        file.parent.mkdir()
        file.write_text(text)
    program.chmod(0o755)
    (folder / "weights").mkdir()
    (folder / "weights" / "model.safetensors").touch()


@training.task
def finetune() -> Dir:
    tuned = folder / "tuned"
    tuned.mkdir()
    (tuned / "adapter.safetensors").touch()
    return Dir(path=str(tuned))


vllm = VLLMAppEnvironment(
    name="vllm",
    port=0,
    model_path=RunOutput(type="directory", task_name="model-servers.finetune"),
    model_id="tuned",
    draft_model_path=str(folder / "weights"),
    speculative_config={"method": "eagle3"},
    env_vars={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
)
sglang = SGLangAppEnvironment(
    name="sglang",
    port=0,
    model_path=Dir(path=str(folder / "weights")),
    model_id="mine",
    extra_args="--context-length 8192",
    env_vars={"PYTHONPATH": str(folder)},
)
