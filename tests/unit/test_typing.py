"""What a type checker tells users about their own code, and us about what we ask of actors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api", reason="mypy is in the group `types`")

SAMPLES = Path(__file__).parent / "typing_samples"
CONFIG = Path(__file__).parents[2] / "pyproject.toml"


Complaints = dict[str, set[tuple[int, str]]]


@pytest.fixture(scope="module")
def complaints() -> Complaints:
    """Line and code of what mypy reports, by sample. One run, with mypy's usual cache: it is slow without."""
    output, errors, _ = api.run(["--strict", "--config-file", str(CONFIG), str(SAMPLES)])
    assert not errors
    found: Complaints = {path.name: set() for path in SAMPLES.glob("*.py")}
    for name, line, code in re.findall(r"(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", output, re.MULTILINE):
        found[name].add((int(line), code))
    return found


def test_right_user_code_is_accepted(complaints: Complaints) -> None:
    assert complaints["right.py"] == set()


@pytest.mark.parametrize("sample", ["wrong.py", "wrong_questions.py"])
def test_wrong_code_is_rejected_where_it_is_wrong(complaints: Complaints, sample: str) -> None:
    lines = (SAMPLES / sample).read_text().splitlines()
    expected = {
        (number, line.partition("# expect: ")[2])
        for number, line in enumerate(lines, 1)
        if "# expect: " in line
    }

    assert complaints[sample] == expected
