"""A condition's webhook tells somebody that a run waits for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CALLBACK = "{callback_uri}"
_PLACES = (CALLBACK, "{run_name}", "{action_name}", "{condition_name}", "{prompt}")


@dataclass(frozen=True)
class ConditionWebhook:
    """A request that is sent when a condition begins to wait: a POST of JSON.

    Args:
        url: Where it goes.
        payload: What is sent. In its texts ``{callback_uri}``, ``{run_name}``, ``{action_name}``,
            ``{condition_name}`` and ``{prompt}`` are filled in. Default: all of these but the first, by name.
        app: The name of a served ``FlyteWebhookAppEnvironment``: a POST of ``{"payload": value}`` to the callback
            signals the condition. Needed where the payload has ``{callback_uri}``; Flyte has an address of its own.

    Raises:
        ValueError: The URL is none of HTTP, or a callback is asked for and no app is named.
    """

    url: str
    payload: Mapping[str, Any] | None = None
    app: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"ConditionWebhook: the url must begin with http:// or https://, got {self.url!r}."
            )
        if self.app is None and CALLBACK in repr(self.payload):
            raise ValueError(
                f"ConditionWebhook: {CALLBACK} is an address of an app that takes the answer: serve a "
                'FlyteWebhookAppEnvironment, and name it by app="...".'
            )

    def filled(self, facts: Mapping[str, str]) -> Any:
        """The payload with these facts in their places."""
        if self.payload is None:
            return {name: value for name, value in facts.items() if name != "callback_uri"}
        return _filled(dict(self.payload), facts)


def _filled(value: Any, facts: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for place in _PLACES:
            value = value.replace(place, facts.get(place[1:-1], ""))
        return value
    if isinstance(value, Mapping):
        return {name: _filled(each, facts) for name, each in value.items()}
    return [_filled(each, facts) for each in value] if isinstance(value, (list, tuple)) else value
