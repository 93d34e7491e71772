"""Documentation, descriptions and links are what people are shown of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from docstring_parser import Docstring

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

    @property
    def summary(self) -> str:
        """The text without its sections, such as ``Args:``. Not of Flyte."""
        said = _parsed(self)
        parts = (said.short_description, said.long_description) if said else (str(self),)
        return "\n\n".join(part for part in parts if part)

    @property
    def of_inputs(self) -> dict[str, str]:
        """The text about each input that it tells of, as Google, NumPy, reST or Epydoc write it. Not of Flyte."""
        said = _parsed(self)
        return {
            each.arg_name: " ".join(each.description.split())
            for each in (said.params if said else ())
            if each.description
        }


def _parsed(text: str) -> Docstring | None:
    import docstring_parser  # deferred: programs don't read their own docs

    try:
        return docstring_parser.parse(text)
    except (docstring_parser.ParseError, IndexError):  # the latter for ": :"
        return None


class Link(Protocol):
    """A link that is shown with each action of a task, by ``flyteray get run``, ``get action`` and ``Action.links``.

    One whose address can't be made is left out with a warning; local mode shows none.
    """

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
        """The URL for one action.

        It is asked for where the task is called: in the calling process for a run, in the caller's for a child.

        Args:
            run_name: The name of the run.
            project, domain: Whose it is; empty where nobody has said.
            context: The custom context of the action.
            parent_action_name: The name of the action that calls it; empty for the root.
            action_name: Its own name.
            pod_name: The name of the machine that asks.
            kwargs: Nothing for now.
        """
        raise NotImplementedError
