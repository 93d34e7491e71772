from __future__ import annotations

from flyteray._client.session.session import other_storage
from flyteray._settings import Settings


def test_a_storage_that_is_named_and_is_not_the_clusters_is_told() -> None:
    named = Settings.of({"FLYTERAY_HOME": "/h", "FLYTERAY_STORAGE": "s3://bucket/x/"})

    assert other_storage(named, "s3://bucket/x") is None
    assert "'s3://bucket/x' is not used: this cluster has '/data'" in str(other_storage(named, "/data"))
    assert other_storage(Settings.of({"FLYTERAY_HOME": "/h"}), "/data") is None
