from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flyteray
from flyteray import Environment, Image, Resources, TaskEnvironment


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
        ("service_account", 3),
    ],
)
def test_fields_of_a_wrong_type_are_refused(field: str, value: Any) -> None:
    with pytest.raises(TypeError):
        TaskEnvironment(**{"name": "train", field: value})


def test_a_long_description_is_cut() -> None:
    assert TaskEnvironment("train", description="x" * 300).description == "x" * 247 + "...(tr.)"


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


def test_paths_of_a_clone_are_relative_to_the_file_they_were_written_in() -> None:
    env = TaskEnvironment("a", include=("data",))
    made: dict[str, Any] = {"env": env}
    code = "kept, given = env.clone_with('b'), env.clone_with('c', include=('x',))"
    exec(compile(code, "/elsewhere/clones.py", "exec"), made)

    assert env._declaring_file == env.clone_with("d")._declaring_file == __file__
    assert made["kept"]._declaring_file == __file__
    assert made["given"]._declaring_file == "/elsewhere/clones.py"


def test_a_clone_refuses_unknown_fields() -> None:
    with pytest.raises(TypeError, match="Unexpected keyword arguments: \\['gpu'\\]"):
        TaskEnvironment("a").clone_with("b", gpu=1)


@pytest.mark.parametrize("option", ["pod_template", "service_account"])
def test_what_means_nothing_on_ray_says_so_at_the_users_line(option: str) -> None:
    with pytest.warns(UserWarning, match=f"'train': {option} has no meaning on Ray") as caught:
        Environment("train", **{option: "x"})  # type: ignore[arg-type]

    assert caught[0].filename == __file__


def test_what_is_included_is_a_tuple_of_paths() -> None:
    assert Environment("train", include=["data", "*.json"]).include == ("data", "*.json")  # type: ignore[arg-type]
    for wrong, message in [("data", "not one str"), (3, "must be a tuple"), ((3,), "must hold str")]:
        with pytest.raises(TypeError, match=message):
            Environment("train", include=wrong)  # type: ignore[arg-type]


def test_secrets_are_keys_or_secrets() -> None:
    assert Environment("train", secrets="a-b").secret_list()[0].as_env_var == "A_B"
    with pytest.raises(TypeError, match="secrets must be a str, a Secret or a list"):
        Environment("train", secrets=[3])  # type: ignore[list-item]


def test_a_file_beside_flyteray_of_a_similar_name_is_the_users() -> None:
    file = f"{Path(flyteray.__file__).parent}-shop/app.py"
    names: dict[str, Any] = {}

    exec(compile("import flyteray; env = flyteray.TaskEnvironment('shop')", file, "exec"), names)

    assert names["env"]._declaring_file == str(file)


def test_a_variable_that_is_not_there_is_left_out() -> None:
    given: Any = {"TOKEN": None, "LEVEL": "3"}

    env = TaskEnvironment("a", env_vars=given)

    assert env.env_vars == {"LEVEL": "3"}

    @env.task
    def f() -> None: ...

    assert f.override(env_vars=given).env_vars == {"LEVEL": "3"}


@pytest.mark.parametrize(
    "env_vars", [{"": "x"}, {"A=B": "x"}, {"A": "a\0b"}, {"A\0": "x"}, {"A": "half a pair: \ud800"}]
)
def test_variables_that_no_process_can_be_started_with_are_refused(env_vars: dict[str, str]) -> None:
    for make in (
        lambda: TaskEnvironment("a", env_vars=env_vars),
        lambda: Image.from_debian_base().with_env_vars(env_vars),
    ):
        with pytest.raises(ValueError, match="environment variable"):
            make()
