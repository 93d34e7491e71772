"""A command's words on their way to a replica."""

from __future__ import annotations

import pytest

from flyteray._serve.programs import command_line
from flyteray.app import AppEnvironment, Parameter
from flyteray.errors import RuntimeUserError


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("$NAME", "value"),
        ("${NAME}", "value"),
        ("--model=$NAME/${NAME}x", "--model=value/valuex"),
        ("$NAME-$OTHER", "value-two words"),
        ("costs $$5", "costs $5"),
        ("$$NAME", "$NAME"),
        ("100%$", "100%$"),
        ("$1", "$1"),
    ],
)
def test_variables_are_filled_in_anywhere_in_a_word(word: str, filled: str) -> None:
    assert command_line.fill_in([word], {"NAME": "value", "OTHER": "two words"}) == [filled]


@pytest.mark.parametrize("word", ["--key=$MISSING", "${MISSING}"])
def test_a_variable_that_is_not_set_is_named_with_its_word(word: str) -> None:
    with pytest.raises(RuntimeUserError, match="MISSING") as caught:
        command_line.fill_in(["program", word], {})

    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("word", "moved"),
    [
        ("8080", "4001"),
        ("--port=8080", "--port=4001"),
        ("0.0.0.0:8080", "10.0.0.1:4001"),
        (":8080", "10.0.0.1:4001"),
        ("[::]:8080", "10.0.0.1:4001"),
        ("--bind=0.0.0.0:8080", "--bind=10.0.0.1:4001"),
        ("localhost:8080", "localhost:4001"),
        ("tcp://*:8080", "tcp://10.0.0.1:4001"),
        ("0.0.0.0", "10.0.0.1"),
        ("--host=::", "--host=10.0.0.1"),
        ("18080", "18080"),
        ("--limit=80801", "--limit=80801"),
        ("http://database:8080", "http://database:8080"),
        ("http://localhost:8080/path", "http://localhost:8080/path"),
        ("app:main", "app:main"),
    ],
)
def test_the_declared_port_and_all_interfaces_become_the_replicas(word: str, moved: str) -> None:
    assert command_line.move_port([word], 8080, "10.0.0.1", 4001) == [moved]


def test_an_ipv6_host_is_written_in_brackets_before_a_port() -> None:
    assert command_line.move_port(["0.0.0.0:80", "0.0.0.0"], 80, "fd00::1", 4001) == [
        "[fd00::1]:4001",
        "fd00::1",
    ]


def test_a_command_that_asks_for_the_port_keeps_its_numbers() -> None:
    assert command_line.names_port(["serve", "--port=$PORT", "--max-tokens", "8080"])
    assert command_line.names_port(["serve", "${PORT}"])
    assert not command_line.names_port(["serve", "$$PORT", "$PORTAL", "8080"])


@pytest.mark.parametrize("command", [["sh", "-c", "echo $i"], ["/bin/bash", "-ec", "x"]])
def test_a_shells_script_is_left_to_the_shell(command: list[str]) -> None:
    assert command_line.is_script(command)


@pytest.mark.parametrize("command", [["sh", "start.sh"], ["python", "-c", "x"], ["sh"], ["sh", "--config"]])
def test_other_words_are_no_script(command: list[str]) -> None:
    assert not command_line.is_script(command)


def test_frameworks_find_the_address_in_their_variables() -> None:
    found = command_line.variables({"KEPT": "1", "HOST": "laptop"}, {}, "127.0.0.1", 4001)

    assert found["KEPT"] == "1"
    assert found["PORT"] == found["STREAMLIT_SERVER_PORT"] == found["UVICORN_PORT"] == "4001"
    assert found["HOST"] == found["GRADIO_SERVER_NAME"] == "127.0.0.1"
    assert found["GUNICORN_CMD_ARGS"] == "--bind=127.0.0.1:4001"


def test_what_users_choose_stays_unless_it_would_clash() -> None:
    chosen = {
        "STREAMLIT_SERVER_PORT": "8501",
        "STREAMLIT_SERVER_HEADLESS": "false",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "UVICORN_HOST": "10.1.1.1",
        "GUNICORN_CMD_ARGS": "--workers 3",
    }

    found = command_line.variables(chosen, chosen, "127.0.0.1", 4001)

    assert found["STREAMLIT_SERVER_PORT"] == "4001"
    assert found["STREAMLIT_SERVER_HEADLESS"] == "false"
    assert found["GRADIO_SERVER_NAME"] == "127.0.0.1"
    assert found["UVICORN_HOST"] == "10.1.1.1"
    assert found["GUNICORN_CMD_ARGS"] == "--bind=127.0.0.1:4001 --workers 3"
    own = command_line.variables({"GUNICORN_CMD_ARGS": "-b unix:/s"}, {}, "127.0.0.1", 4001)
    assert own["GUNICORN_CMD_ARGS"] == "-b unix:/s"


@pytest.mark.parametrize("command", ["a && b", "a | b", ["a", ">", "b"], "a 2>&1"])
def test_what_needs_a_shell_is_refused_with_the_way_to_have_one(command: str | list[str]) -> None:
    with pytest.raises(ValueError, match='\\["sh", "-c", ') as caught:
        AppEnvironment(name="a", command=command)

    assert "AppEnvironment 'a'" in str(caught.value)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("serve 'it", "\"serve 'it\" can't be split into words: No closing quotation"),
        ("'' --port 1", "is empty"),
    ],
)
def test_a_command_that_names_no_program_is_refused_with_its_app(command: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"AppEnvironment 'a': .*{told}"):
        AppEnvironment(name="a", command=command)


def test_a_shell_that_is_asked_for_gets_its_script_whole() -> None:
    assert AppEnvironment(name="a", args=["sh", "-c", "a && b"]).words() == ["sh", "-c", "a && b"]


def test_flytes_launcher_is_left_out() -> None:
    env = AppEnvironment(
        name="a",
        command="fserve --version 1 -- python server.py --x -- y",
        parameters=[Parameter(name="p", value="v")],
    )

    assert env.words() == ["python", "server.py", "--x", "--", "y"]


@pytest.mark.parametrize("command", ["fserve --version 1", "fserve python server.py", "fserve --"])
def test_a_launcher_without_a_program_is_refused(command: str) -> None:
    with pytest.raises(ValueError, match="names the program behind --"):
        AppEnvironment(name="a", command=command)
