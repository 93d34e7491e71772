from __future__ import annotations

from flyteray._plan.sharing import Problem, not_shared, refusal
from flyteray.errors import ClusterError, StorageNotSharedError


def test_another_flyteray_is_told_before_another_storage_with_both_versions() -> None:
    storage = Problem("10.0.0.2", "no such folder")
    older = [Problem(f"10.0.0.{number}", "0.1.0", of_flyteray=True) for number in (4, 3)]
    none = Problem("10.0.0.5", "none that runs: No module named 'flyteray'", of_flyteray=True)

    told = refusal("/data", "0.2.0", [storage, *older, none])

    assert isinstance(told, ClusterError)
    assert str(told).startswith(
        "Not all nodes of the cluster run flyteray 0.2.0, as its head does: 10.0.0.3, 10.0.0.4 (0.1.0); 10.0.0.5 "
        "(none that runs: No module named 'flyteray'). On each of them install flyteray==0.2.0"
    )
    assert isinstance(refusal("/data", "0.2.0", [storage]), StorageNotSharedError)


def test_nodes_with_one_problem_are_named_together_with_the_ways_out() -> None:
    told = not_shared(
        "/data",
        [
            Problem("10.0.0.3", "no such folder"),
            Problem("10.0.0.2", "no such folder"),
            Problem("10.0.0.4", "odd"),
        ],
    )

    assert told.startswith(
        "Storage /data is not the same folder on all nodes of the cluster, so what they write"
    )
    assert (
        "Another than the head's: 10.0.0.2, 10.0.0.3 (no such folder); 10.0.0.4 (odd). Mount a shared" in told
    )
    assert "FLYTERAY_STORAGE=s3://bucket/path (gs://, az://)" in told


def test_of_a_users_folder_another_one_may_be_given() -> None:
    told = not_shared("/data", [Problem("10.0.0.2", "no such folder")], of_user=True)

    assert told.endswith("or give raw_data_path=s3://bucket/path (gs://, az://).")


def test_of_many_nodes_some_are_named() -> None:
    told = not_shared("/data", [Problem(f"10.0.0.{number}", "odd") for number in range(1, 8)])

    assert "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 3 more (odd)." in told


def test_of_a_bucket_the_variables_are_what_to_look_at() -> None:
    told = not_shared("s3://bucket", [Problem("10.0.0.2", "refused")])

    assert told.startswith(
        "Storage s3://bucket can't be used by every node of the cluster, not by 10.0.0.2 (refused)"
    )
    assert "Mount" not in told
