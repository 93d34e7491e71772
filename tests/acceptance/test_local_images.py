"""Apps in local mode run with their image, which is built for them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import flyteray
from flyteray._plan.bundle import code
from flyteray.errors import DeploymentError
from tests.wheels import offline, wheel

APP = """
from flyteray import Image
from flyteray.app import AppEnvironment

OPTIONS = {{"extra_args": {options!r}}}
IMAGE = Image.from_debian_base(name="old").with_pip_packages("flytesample=={version}", **OPTIONS)
env = AppEnvironment("local-image", image=IMAGE, port=0)


@env.server
def serve() -> None:
    import http.server, flytesample

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(flytesample.VERSION.encode())

    http.server.ThreadingHTTPServer(("127.0.0.1", env.get_port().port), Handler).serve_forever()


bad = env.clone_with("local-image", image=IMAGE.with_pip_packages("flytesample==3.0", **OPTIONS))
bad.server(serve)
"""


def test_a_local_app_finds_what_its_image_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    wheel(tmp_path / "wheels", "flytesample", "1.0")
    file = tmp_path / "sample_local_image.py"
    file.write_text(APP.format(options=offline(tmp_path / "wheels"), version="1.0"))
    module = code.load_file(file)
    local = flyteray.with_servecontext(mode="local")

    with local.serve(module.env).ephemeral_ctx_sync() as app:
        assert httpx.get(app.endpoint, timeout=30).text == "1.0"
        with pytest.raises(
            DeploymentError, match="could not start: ImageBuildError: Image 'old' could not be built"
        ):
            local.serve(module.bad)
        assert httpx.get(app.endpoint, timeout=30).text == "1.0"
