"""The command of an app as its user writes it: no shell, and perhaps behind Flyte's own launcher."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

LAUNCHER = "fserve"  # starts apps in Flyte; what it starts follows ``--``
_SHELL = {"&&", "||", "|", ";", "&", ">", ">>", "<", "<<", "2>", "2>>", "2>&1", "&>"}


def check_words(owner: str, field: str, words: object) -> None:
    """Return where a field holds words, as a text or as a list, or nothing; TypeError else."""
    listed = isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words)
    if words is not None and not isinstance(words, str) and not listed:
        raise TypeError(f"{owner}: {field} must be a str or a list of str, got {words!r}.")


def split_words(owner: str, words: Sequence[str] | str | None) -> list[str]:
    """A command's words; a text is split as a shell splits it. ValueError: a quotation in it has no end."""
    if not isinstance(words, str):
        return list(words or [])
    try:
        return shlex.split(words)
    except ValueError as error:
        raise ValueError(f"{owner}: {words!r} can't be split into words: {error}.") from None


def program(owner: str, words: Sequence[str]) -> list[str]:
    """The words without Flyte's launcher.

    ValueError: they need a shell, the first one is empty, or there is nothing behind the launcher.
    """
    if words and words[0] == LAUNCHER:
        if "--" not in words or words[-1] == "--":
            raise ValueError(
                f"{owner}: a command that begins with {LAUNCHER} names the program behind --, "
                f"as in: {LAUNCHER} -- python server.py; got: {shlex.join(words)}."
            )
        words = words[words.index("--") + 1 :]
    for word in words:
        if word in _SHELL:
            raise ValueError(
                f"{owner}: {word!r} in the command means something to a shell only, and none runs it. "
                f'Use a shell: ["sh", "-c", {" ".join(words)!r}].'
            )
    if words and not words[0]:
        raise ValueError(f"{owner}: the first word of its command names the program, and it is empty.")
    return list(words)
