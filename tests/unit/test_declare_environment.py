from __future__ import annotations

from typing import Any

import pytest

from flyteray import Environment, Resources, TaskEnvironment


@pytest.mark.parametrize("name", ["train", "train-model", "train_model", "3d-model", "a1"])
def test_names_are_lower_case_words(name: str) -> None:
    assert TaskEnvironment(name).name == name


@pytest.mark.parametrize("name", ["", "A", "a.b", "-a", "a-", "a--b", "a__b", "a b", "a\n"])
def test_other_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        TaskEnvironment(name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 3),
        ("depends_on", ["other"]),
        ("depends_on", "other"),
        ("resources", {"cpu": 1}),
        ("env_vars", ["A=1"]),
        ("env_vars", {"A": 1}),
        ("description", 1),
        ("image", 3),
        ("image", ["python:3.12"]),
    ],
)
def test_fields_of_a_wrong_type_are_refused(field: str, value: Any) -> None:
    with pytest.raises(TypeError):
        TaskEnvironment(**{"name": "train", field: value})


def test_a_long_description_is_cut() -> None:
    assert TaskEnvironment("train", description="x" * 300).description == "x" * 255


def test_dependencies_are_added_once() -> None:
    env, other, third = TaskEnvironment("a"), TaskEnvironment("b"), TaskEnvironment("c")

    env.add_dependency(other)
    env.add_dependency(other, third)

    assert env.depends_on == [other, third]


def test_the_given_list_of_dependencies_is_not_shared() -> None:
    given: list[Environment] = [TaskEnvironment("b")]
    env = TaskEnvironment("a", given)

    env.add_dependency(TaskEnvironment("c"))

    assert len(given) == 1


def test_an_environment_can_not_depend_on_its_own_name() -> None:
    with pytest.raises(ValueError, match="own name"):
        TaskEnvironment("a").add_dependency(TaskEnvironment("a"))


def test_the_repr_shows_what_differs_from_the_defaults() -> None:
    env = TaskEnvironment("a", [TaskEnvironment("b")], resources=Resources(cpu=2))
    env.depends_on[0].add_dependency(env)

    assert repr(TaskEnvironment("a")) == "TaskEnvironment(name='a')"
    assert "depends_on=['b'], resources=Resources(cpu=2" in repr(env)


def test_a_clone_keeps_what_is_not_given_and_has_no_tasks() -> None:
    env = TaskEnvironment("a", env_vars={"A": "1"}, resources=Resources(cpu=2))

    @env.task
    def work() -> None: ...

    clone = env.clone_with("b", resources=None, env_vars={"B": "2"})

    assert (clone.name, clone.env_vars, clone.resources) == ("b", {"B": "2"}, Resources(cpu=2))
    assert clone.tasks == {}
    assert list(env.tasks) == ["a.work"]


def test_a_clone_refuses_unknown_fields() -> None:
    with pytest.raises(TypeError, match="Unexpected keyword arguments: \\['gpu'\\]"):
        TaskEnvironment("a").clone_with("b", gpu=1)
