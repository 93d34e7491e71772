from __future__ import annotations

from pathlib import Path

import pytest

import flyteray
from flyteray import _place
from flyteray._settings import Settings
from flyteray.errors import InitializationError
from flyteray.storage import open_storage


@pytest.mark.parametrize(
    ("place", "root"),
    [
        ("/data", "/data"),
        ("here", str(Path("here").absolute())),
        ("a:b/c", str(Path("a:b/c").absolute())),
        ("~/x", str(Path("~/x").expanduser())),
        ("file:///data/with%20space", "/data/with space"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/x/", "s3://bucket/x"),
        (
            "abfss://container@account.dfs.core.windows.net/x",
            "abfss://container@account.dfs.core.windows.net/x",
        ),
        ("https://host:8080/x@1", "https://host:8080/x@1"),
    ],
)
def test_a_root_is_the_same_for_processes_of_every_folder(place: str, root: str) -> None:
    assert _place.root(place) == root


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s4://bucket", "Storage 's4://bucket' is of an unknown kind 's4'"),
        (" s3://bucket", "unknown kind ' s3'"),
        ("s3:/bucket/x", "Storage 's3:/bucket/x' is neither a URL nor a path: write 's3://bucket/x'"),
        ("s3:bucket", "write 's3://bucket', or './s3:bucket' for a folder"),
        ("s3//bucket", "write 's3://bucket'"),
        ("S3://bucket", "Storage 'S3://bucket' is neither a URL nor a path: write 's3://bucket'"),
        ("file:/data", "write 'file:///data'"),
        ("s3://", "Storage 's3://' names no bucket: write s3://BUCKET/PATH"),
        ("s3:///x", "Storage 's3:///x' names no bucket"),
        ("s3://bucket?endpoint_override=x", r"ends in '\?endpoint_override=x'.*AWS_ENDPOINT_URL"),
    ],
)
def test_a_misspelt_storage_is_refused_where_it_is_named(place: str, told: str) -> None:
    with pytest.raises(InitializationError, match=f"^FLYTERAY_STORAGE: .*{told}"):
        Settings.of({"FLYTERAY_STORAGE": place})
    with pytest.raises(ValueError, match=told):
        flyteray.init(storage=place)


@pytest.mark.parametrize("open_", [_place.root, open_storage])
def test_a_password_in_a_url_is_refused_and_not_repeated(open_: object) -> None:
    assert callable(open_)
    with pytest.raises(ValueError, match=r"s3://…@bucket/x has a password in its URL") as caught:
        open_("s3://AKIA1:se/cret@bucket/x")

    assert "cret@" not in str(caught.value)
