from __future__ import annotations

from pathlib import Path

import pytest

import flyteray
from tests.acceptance.command import Shell


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

    assert (nothing.returncode, unknown.returncode) == (1, 1)
    assert "no environment in" in nothing.stderr
    assert "'env' in 'empty' does not exist" in unknown.stderr
