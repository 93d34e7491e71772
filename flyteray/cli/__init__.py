"""The ``flyteray`` command: parse, call a verb, print. One verb a file; its contents may change without notice."""

from __future__ import annotations


def main() -> None:
    """The console script's entry point."""
    from flyteray.cli.root import flyteray  # deferred: the package is imported wherever a verb is looked up

    flyteray()
