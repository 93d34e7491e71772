from __future__ import annotations

import pickle
from datetime import date
from typing import Any

import pytest

from flyteray.artifacts import Card, Metadata, new, produces
from flyteray.io import DataFrame, File
from flyteray.io.artifacts import completed, kept_as, produced, said_of, versions_in

FILE = File[Any](path="s3://bucket/model.pt", hash="abc")


def test_what_is_said_of_a_file_goes_with_it_and_changes_nothing_else() -> None:
    made = new(FILE, Metadata(name="model", attrs={"loss": "0.1"}))

    arrived = pickle.loads(pickle.dumps(made))

    assert arrived == made == FILE
    assert said_of(arrived) == Metadata(name="model", attrs={"loss": "0.1"})
    assert said_of(FILE) is None


def test_a_version_is_told_by_what_it_is_of() -> None:
    arrived = pickle.loads(pickle.dumps(kept_as(FILE, "v1")))

    assert arrived == FILE
    assert versions_in([arrived, [kept_as(FILE, "v2"), FILE], {"a": (arrived,)}, 3]) == ("v1", "v2")
    assert versions_in([FILE]) == ()


def test_what_a_caller_says_goes_before_what_the_task_says() -> None:
    declared = Metadata(name="events", partitions={"day": date(2026, 3, 1)}, attrs={"a": "1"})
    own = Metadata(name="own", version="1", description="of the task", attrs={"b": "2"})

    both = completed(declared, own)

    assert both == Metadata(
        name="events", partitions={"day": date(2026, 3, 1)}, attrs={"a": "1"}, description="of the task"
    )
    assert (completed(None, own), completed(declared, None), completed(None, None)) == (own, declared, None)
    with produces(o1=declared):
        assert produced() == (("o1", declared),)
    assert produced() == ()
    with pytest.raises(TypeError, match="o0=Metadata"), produces(first=declared):
        pass


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: new(b"bytes", Metadata(name="m")), TypeError, "Only a File"),  # type: ignore[type-var]
        (lambda: new(DataFrame(), Metadata(name="m")), TypeError, "holds no frame and is nowhere"),
        (lambda: new(FILE, "m"), TypeError, "needs a Metadata"),  # type: ignore[arg-type]
        (lambda: Metadata(name=""), ValueError, "needs a name"),
        (lambda: Metadata(name="m", kind="thing"), ValueError, "one of model, data"),  # type: ignore[arg-type]
        (lambda: Metadata(name="m", version="1", version_from_content=True), ValueError, "not both"),
        (lambda: Metadata(name="m", attrs={"a": 1}), TypeError, "str to str"),  # type: ignore[dict-item]
        (lambda: Card(uri=""), ValueError, "empty"),
        (lambda: Card(uri="u", format="doc"), ValueError, "one of html"),  # type: ignore[arg-type]
    ],
    ids=map(str, range(9)),
)
def test_what_can_be_no_artifact_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
