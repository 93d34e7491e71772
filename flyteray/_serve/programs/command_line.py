"""The words of a command are adapted to a replica: variables filled in, the declared port moved to its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from flyteray.errors import RuntimeUserError

_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([^{}]*)\})")
_SHELLS = {"sh", "ash", "bash", "dash", "ksh", "zsh"}
_TELL_PORT = {"PORT", "FLYTERAY_REPLICA_PORT"}
_EVERYWHERE = {"0.0.0.0", "::", "[::]", "*"}
_HERE = {*_EVERYWHERE, "", "localhost", "127.0.0.1", "[::1]"}
_BIND = re.compile(r"(?:^|\s)(?:-b|--bind)")
# Variables that frameworks read the port and the host from.
_ADDRESS_VARIABLES = {
    "PORT": "HOST",
    "CHAINLIT_PORT": "CHAINLIT_HOST",
    "FLASK_RUN_PORT": "FLASK_RUN_HOST",
    "GRADIO_SERVER_PORT": "GRADIO_SERVER_NAME",
    "ROCKET_PORT": "ROCKET_ADDRESS",
    "STREAMLIT_SERVER_PORT": "STREAMLIT_SERVER_ADDRESS",
    "UVICORN_PORT": "UVICORN_HOST",
}


def fill_in(words: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Replace ``$NAME`` and ``${NAME}``, anywhere in a word, by variables that must be there; ``$$`` is a ``$``."""

    def fill(word: str) -> str:
        def value(match: re.Match[str]) -> str:
            dollar, plain, braced = match.groups()
            name = plain or braced or ""
            if dollar:
                return "$"
            if name not in variables:
                raise RuntimeUserError(
                    "VariableNotSet",
                    f"The command asks for ${name} in {word!r}, but the app has no environment variable {name!r}: "
                    "give it in env_vars, by a secret or by a parameter's env_var, or write $$ for a $.",
                )
            return variables[name]

        return _VARIABLE.sub(value, word)

    return [fill(word) for word in words]


def move_port(words: Sequence[str], declared: int, host: str, port: int) -> list[str]:
    """Replace the declared port by the replica's, and "all interfaces" by the replica's host.

    A port is recognized as a whole word, after ``=``, and behind a name of this machine (``0.0.0.0:8080``,
    ``localhost:8080``, ``:8080``, ``tcp://*:8080``); a host as a whole word, after ``=`` or before that port.
    """

    def move(word: str) -> str:
        head, equals, value = word.rpartition("=")
        if value in _EVERYWHERE:
            return f"{head}{equals}{host}"
        address, colon, number = value.rpartition(":")
        scheme, slashes, name = address.rpartition("//")
        if number != str(declared) or name not in _HERE or (slashes and not scheme):
            return word
        if colon and name in (*_EVERYWHERE, ""):
            name = f"[{host}]" if ":" in host else host
        return f"{head}{equals}{scheme}{slashes}{name}{colon}{port}"

    return [move(word) for word in words]


def is_script(words: Sequence[str]) -> bool:
    """Whether they are a shell's with a script, whose variables the shell fills in."""
    shell, option = (*words[:2], "", "")[:2]
    return PurePath(shell).name in _SHELLS and re.fullmatch(r"-\w*c\w*", option) is not None


def names_port(words: Sequence[str]) -> bool:
    """Whether they say by a variable where the port goes, so that a number in them is none."""
    found = (match for word in words for match in _VARIABLE.findall(word))
    return any((plain or braced) in _TELL_PORT for _, plain, braced in found)


def variables(
    inherited: Mapping[str, str], chosen: Mapping[str, str], host: str, port: int
) -> dict[str, str]:
    """The environment of a program: that of the replica, with its address in the variables that frameworks read.

    A host that the user has ``chosen`` stays, unless it means all interfaces; the port replaces any other.
    """
    hosts = {name: host for name in _ADDRESS_VARIABLES.values() if chosen.get(name, "*") in _EVERYWHERE}
    gunicorn = inherited.get("GUNICORN_CMD_ARGS", "")  # counts less than its command line
    if not _BIND.search(gunicorn):
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        gunicorn = f"--bind={address} {gunicorn}".rstrip()
    return {
        "STREAMLIT_SERVER_HEADLESS": "true",
        **inherited,
        **hosts,
        **dict.fromkeys(_ADDRESS_VARIABLES, str(port)),
        "GUNICORN_CMD_ARGS": gunicorn,
    }
