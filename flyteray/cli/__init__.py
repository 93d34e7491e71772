"""The ``flyteray`` command: parse, call a verb, print. One verb a file; its contents may change without notice."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script's entry point; ``arguments`` are those of the process by default."""
    from flyteray.cli.root import flyteray  # deferred: the package is imported wherever a verb is looked up

    flyteray(None if arguments is None else list(arguments), prog_name="flyteray")
