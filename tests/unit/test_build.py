from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import flyteray
from flyteray._plan.bundle import code
from flyteray.errors import DeploymentError
from tests.acceptance.command import Shell
from tests.wheels import offline, wheel


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(TypeError, match="builds an Image, not 'x'"):
        flyteray.build("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes environments, not 'x'"):
        flyteray.build_images("x")  # type: ignore[arg-type]


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")

    shell = Shell(tmp_path, home=tmp_path / "home")

    nothing = shell.flyteray("build", str(tmp_path / "empty.py"))
    unknown = shell.flyteray("build", str(tmp_path / "empty.py"), "env")

    assert (nothing.returncode, unknown.returncode) == (2, 1)
    assert "no environments" in nothing.stderr
    assert "'env' in 'empty' does not exist" in unknown.stderr


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
