from __future__ import annotations

from flyteray._plan.sharing import not_shared


def test_nodes_with_one_problem_are_named_together_with_the_ways_out() -> None:
    told = not_shared(
        "/data", [("10.0.0.3", "no such folder"), ("10.0.0.2", "no such folder"), ("10.0.0.4", "odd")]
    )

    assert told.startswith(
        "Storage /data is not the same folder on all nodes of the cluster, so what they write"
    )
    assert (
        "Another than the head's: 10.0.0.2, 10.0.0.3 (no such folder); 10.0.0.4 (odd). Mount a shared" in told
    )
    assert "FLYTERAY_STORAGE=s3://bucket/path (gs://, az://)" in told


def test_of_a_users_folder_another_one_may_be_given() -> None:
    told = not_shared("/data", [("10.0.0.2", "no such folder")], of_user=True)

    assert told.endswith("or give raw_data_path=s3://bucket/path (gs://, az://).")


def test_of_many_nodes_some_are_named() -> None:
    told = not_shared("/data", [(f"10.0.0.{number}", "odd") for number in range(1, 8)])

    assert "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 3 more (odd)." in told


def test_of_a_bucket_the_variables_are_what_to_look_at() -> None:
    told = not_shared("s3://bucket", [("10.0.0.2", "refused")])

    assert told.startswith(
        "Storage s3://bucket can't be used by every node of the cluster, not by 10.0.0.2 (refused)"
    )
    assert "Mount" not in told
