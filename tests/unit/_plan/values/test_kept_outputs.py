from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flyteray._plan.values.kept_outputs import KeptOutputs
from flyteray.errors import ResultSerializationError


def test_small_outputs_share_a_file_and_others_have_their_own(tmp_path: Path) -> None:
    kept = KeptOutputs(str(tmp_path), "r")
    large = np.arange(100_000)

    for number in range(100):
        kept.write(f"a{number}", (number, np.arange(3)))
    size = kept.write("large", (large,))
    kept.write("cached", ("once",), alone=True)
    kept.write("a0", ("of the run",))

    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found[:3] == ["runs/r/a0/outputs", "runs/r/cached/outputs", found[2]]
    assert found[2].startswith("runs/r/journals/")
    assert found[3:] == ["runs/r/large/outputs"]
    assert size == (tmp_path / "runs/r/large/outputs").stat().st_size
    read = KeptOutputs(str(tmp_path), "r").read
    number, array = read("a99")
    assert number == 99
    assert array.tolist() == [0, 1, 2]
    assert not array.flags.writeable
    assert (read("large")[0] == large).all()
    assert (read("cached"), read("a0")) == (("once",), ("of the run",))


def test_outputs_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    kept = KeptOutputs(str(tmp_path), "r")
    kept.write("a1", ("small",))
    kept.write("a2", (b"large" * 100_000,))

    assert [kept.have(action) for action in ("a1", "a2", "a3")] == [True, True, False]
    with pytest.raises(FileNotFoundError, match="no file 'runs/r/a3/outputs'"):
        kept.read("a3")


def test_outputs_that_can_not_be_pickled_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ResultSerializationError, match=r"output\[1\] is a _thread\.lock"):
        KeptOutputs(str(tmp_path), "r").write("a1", (1, __import__("threading").Lock()))

    assert list(tmp_path.iterdir()) == []


def test_what_is_done_again_counts_for_who_has_looked_before(tmp_path: Path) -> None:
    early, late = KeptOutputs(str(tmp_path), "r"), KeptOutputs(str(tmp_path), "r")
    early.write("a1", (1,))
    assert late.read("a1") == (1,)
    early.write("a2", (2,))

    assert late.read("a2") == (2,)
