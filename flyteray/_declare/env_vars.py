"""Environment variables are checked as users declare them."""

from __future__ import annotations

from collections.abc import Mapping


def checked_env_vars(owner: str, env_vars: object) -> dict[str, str]:
    """Environment variables as given; one that is None, as ``os.environ.get`` gives it, is left out.

    Raises:
        TypeError: something else than a mapping of str to str.
        ValueError: a name or a value that no process can be started with.
    """
    if not isinstance(env_vars, Mapping):
        raise TypeError(f"{owner}: env_vars must be a dict, got {env_vars!r}.")
    there = {name: value for name, value in env_vars.items() if value is not None}
    for name, value in there.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"{owner}: env_vars must map str to str, got {name!r}: {value!r}.")
        if not name or "=" in name:
            raise ValueError(
                f"{owner}: an environment variable can't be called {name!r}: it needs a name without '='."
            )
        for text in (name, value):
            if "\0" in text or not _is_encodable(text):
                raise ValueError(
                    f"{owner}: environment variable {name!r} can't be set: {text!r} has a null character or one that "
                    "can't be written as UTF-8. Encode it, as with base64."
                )
    return there


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
