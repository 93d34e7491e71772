"""How a verb's help ends: commands to paste."""

from __future__ import annotations


def examples(*commands: str) -> str:
    """An epilog with one command a line (blank lines, or they are joined into a paragraph)."""
    return "\n\n".join(["Examples:", *commands])
