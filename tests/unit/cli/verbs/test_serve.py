from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flyteray.cli.verbs.serve import serve


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-e", "GREETING"], "'GREETING' is not NAME=VALUE"),
        (["-e", "=hi"], "'' is not NAME=VALUE"),
        (["--copy-style", "none"], "Version is required"),
        (["--copy-style", "custom"], "'custom' is not one of"),
        (["--root-dir", "no/such"], "does not exist"),
    ],
)
def test_wrong_options_are_refused_before_the_file_is_imported(
    tmp_path: Path, options: list[str], message: str
) -> None:
    script = tmp_path / "app.py"
    script.write_text("raise SystemExit('imported')")

    done = CliRunner().invoke(serve, [*options, str(script), "env"])

    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
