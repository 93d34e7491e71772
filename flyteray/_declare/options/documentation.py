"""Documentation, descriptions and links are what people are shown of a task."""

from __future__ import annotations

from typing import Any, Protocol

_LONGEST = 255
_CUT = "...(tr.)"  # as in Flyte


def shortened(description: str) -> str:
    """At most 255 characters of a description; one that was cut off says so at its end."""
    return description if len(description) <= _LONGEST else description[: _LONGEST - len(_CUT)] + _CUT


class Documentation(str):
    """The description of a task, in words: a text, of which :attr:`description` is all."""

    __slots__ = ()

    def __new__(cls, description: str) -> Documentation:
        """The text as documentation."""
        return super().__new__(cls, description)

    @property
    def description(self) -> str:
        """The text."""
        return str(self)


class Link(Protocol):
    """A link that is shown with each action of a task. Nothing shows them for now: a warning tells so."""

    name: str
    icon_uri: str | None = ""

    def get_link(
        self,
        run_name: str,
        project: str,
        domain: str,
        context: dict[str, str],
        parent_action_name: str,
        action_name: str,
        pod_name: str,
        **kwargs: Any,
    ) -> str:
        """The URL for one action."""
        raise NotImplementedError
