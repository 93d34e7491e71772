from __future__ import annotations

import asyncio
import getpass
import json

import pytest

import flyteray as flyte
from flyteray.remote import Project, User


@pytest.mark.usefixtures("own_session")
def test_there_is_one_project_of_the_name_that_init_was_told() -> None:
    flyte.init(project="mine")

    assert [each.name for each in Project.listall()] == ["mine"]
    assert Project.get("mine").to_dict()["id"] == "mine"
    assert asyncio.run(Project.get.aio("mine")) == Project.get("mine")
    assert Project.listall(archived=True) == []
    with pytest.raises(ValueError, match=r"no project 'yours': .* called 'mine'"):
        Project.get("yours")


@pytest.mark.usefixtures("own_session")
def test_a_project_that_nobody_has_named_has_a_name() -> None:
    assert [each.name for each in Project.listall()] == ["default"]


def test_projects_are_not_made_or_changed() -> None:
    project = Project("a", "a")

    for change in (
        lambda: Project.create("b", "b"),
        lambda: Project.update("a", state="archived"),
        project.archive,
        project.unarchive,
    ):
        with pytest.raises(
            NotImplementedError, match=r"no flyteray\.remote\.Project\.\w+: Ray has no projects"
        ):
            change()


def test_the_user_is_who_runs_this_process() -> None:
    user = User.get()

    assert (user.name(), user.subject()) == (getpass.getuser(), getpass.getuser())
    assert json.loads(user.to_json()) == user.to_dict() == {"name": user.name(), "subject": user.subject()}
