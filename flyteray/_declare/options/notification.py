"""Notifications say who is told how a run has ended, and in which words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from flyteray._declare.environment import warn_user
from flyteray._declare.near import did_you_mean

PHASES: Final = ("succeeded", "failed", "aborted", "timed_out")
PLACEHOLDERS: Final = ("Run.Name", "Run.Project", "Run.Domain", "Run.Task", "Phase", "Error")
PLACEHOLDER: Final = re.compile(r"\{\{\s*\.([\w.]+)\s*\}\}")
Method: TypeAlias = Literal["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"]
_MAIL = (
    "Run: {{.Run.Name}}\nProject/Domain: {{.Run.Project}}/{{.Run.Domain}}\nPhase: {{.Phase}}\n"
    "Error: {{.Error}}\n"
)
_METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Notification:
    """Who is told when a run ends; this is what the kinds of it have in common.

    In texts ``{{.Run.Name}}``, ``{{.Run.Task}}``, ``{{.Run.Project}}``, ``{{.Run.Domain}}``, ``{{.Phase}}`` and
    ``{{.Error}}`` stand for what is known then. The cluster sends notifications off the run's path, and again for a
    quarter of an hour where they can't be delivered; in local mode this process does, twice more. One that could not be
    delivered is logged and told by ``Run.notifications()``; it never fails a run.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        self._check()
        try:
            json.dumps([getattr(self, field.name) for field in fields(self)])
        except (TypeError, ValueError) as error:
            raise TypeError(f"{type(self).__name__} can hold only what JSON can: {error}.") from error
        unknown = dict.fromkeys(name for text in _texts(self) for name in PLACEHOLDER.findall(text))
        for name in unknown.keys() - set(PLACEHOLDERS):
            warn_user(
                f"{type(self).__name__}: nothing is known as {{{{.{name}}}}}, so it stays as it is written."
                f"{did_you_mean(name, PLACEHOLDERS)}"
            )

    def _check(self) -> None:
        """Raise ValueError or TypeError for what can't be told."""


@dataclass(frozen=True, kw_only=True)
class _OnPhase(Notification):
    on_phase: Any  # a phase, or several

    def _check(self) -> None:
        given = (self.on_phase,) if isinstance(self.on_phase, str) else tuple(self.on_phase)
        if not given:
            raise ValueError(f"{type(self).__name__} needs a phase in on_phase: one of {', '.join(PHASES)}.")
        for phase in given:
            if phase not in PHASES:
                raise ValueError(
                    f"{type(self).__name__}: a run that ends is one of {', '.join(PHASES)}; on_phase can't be "
                    f"{str(phase)!r}."
                )
        object.__setattr__(self, "on_phase", given)


@dataclass(frozen=True, kw_only=True)
class Email(_OnPhase):
    """A mail, by the server that ``FLYTERAY_SMTP`` names where the cluster's head was started.

    Args:
        on_phase: ``ActionPhase.FAILED`` or another way to end, or a tuple of them.
        recipients: Addresses.
        cc, bcc: Further ones.
        subject, body, html_body: Texts with placeholders, as :class:`Notification` says.

    Raises:
        ValueError: No phase, or one that is no end; no recipients, or an address without ``@``.
    """

    recipients: Sequence[str]
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    subject: str = "Run {{.Run.Name}} {{.Phase}}"
    body: str = _MAIL
    html_body: str | None = None

    def _check(self) -> None:
        super()._check()
        if not self.recipients:
            raise ValueError("Email needs recipients, got none.")
        for option in ("recipients", "cc", "bcc"):
            if isinstance(given := getattr(self, option), str):
                raise TypeError(
                    f"Email: {option} must be a tuple of addresses, not one str: write ({given!r},)."
                )
            for address in given:
                if not isinstance(address, str) or "@" not in address or any(map(str.isspace, address)):
                    raise ValueError(f"Email: {address!r} in {option} is no address.")


@dataclass(frozen=True, kw_only=True)
class Slack(_OnPhase):
    """A message in a channel of Slack.

    Args:
        on_phase: As of :class:`Email`.
        webhook_url: The channel's incoming webhook. Who knows it may write there: :class:`NamedDelivery` keeps it out
            of the code, and of the record of the run.
        message: A text with placeholders. Default: the run, its phase and error.
        blocks: Slack's own layout, a tuple of dicts.

    Raises:
        ValueError: No phase, or one that is no end; no URL.
    """

    webhook_url: str
    message: str | None = None
    blocks: Sequence[Mapping[str, Any]] | None = None

    def _check(self) -> None:
        super()._check()
        check_url("Slack", "webhook_url", self.webhook_url)


@dataclass(frozen=True, kw_only=True)
class Teams(_OnPhase):
    """A card in a channel of Microsoft Teams.

    Args:
        on_phase: As of :class:`Email`.
        webhook_url: The channel's; see :class:`Slack`.
        title, message: Texts with placeholders.
        card: An adaptive card in place of both.

    Raises:
        ValueError: No phase, or one that is no end; no URL.
    """

    webhook_url: str
    title: str = "Run {{.Run.Name}} {{.Phase}}"
    message: str | None = None
    card: Mapping[str, Any] | None = None

    def _check(self) -> None:
        super()._check()
        check_url("Teams", "webhook_url", self.webhook_url)


@dataclass(frozen=True, kw_only=True)
class Webhook(_OnPhase):
    """A request to any server; one that is answered with a status from 200 to 299 is delivered.

    Args:
        on_phase: As of :class:`Email`.
        url: Where it goes, with placeholders.
        method: ``"POST"``, ``"PUT"``, ``"PATCH"``, ``"GET"``, ``"DELETE"``, ``"HEAD"`` or ``"OPTIONS"``.
        headers: Further headers, with placeholders.
        body: Sent as JSON, with placeholders in its texts. Default: run, task, project, domain, phase and error.

    Raises:
        ValueError: No phase, or one that is no end; no URL; another method.
    """

    url: str
    method: Method = "POST"
    headers: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None

    def _check(self) -> None:
        super()._check()
        check_url("Webhook", "url", self.url)
        if self.method not in _METHODS:
            raise ValueError(f"Webhook: method must be one of {', '.join(_METHODS)}, got {self.method!r}.")


@dataclass(frozen=True, kw_only=True)
class NamedDelivery(_OnPhase):
    """A notification whose address is kept as a secret: of group ``notify``, under its name.

    ``flyteray create secret notify/oncall --value slack+https://hooks.slack.com/...`` makes one. An address begins with
    ``slack+https://``, ``teams+https://``, ``https://`` (a :class:`Webhook`) or ``mailto:`` (addresses with commas
    between); several are on lines of their own.

    Args:
        on_phase: As of :class:`Email`.
        name: The secret's, without its group.

    Raises:
        ValueError: No phase, or one that is no end; an empty name.
    """

    name: str

    def _check(self) -> None:
        super()._check()
        if not self.name:
            raise ValueError("NamedDelivery needs a name, got an empty one.")


@dataclass(frozen=True)
class NamedRule(Notification):
    """Notifications that are kept as a secret with the phases on which they are sent.

    As :class:`NamedDelivery`, but each line begins with phases: ``failed,timed_out mailto:team@example.com``.

    Args:
        name: The secret's, without its group ``notify``.

    Raises:
        ValueError: An empty name.
    """

    name: str

    def _check(self) -> None:
        if not self.name:
            raise ValueError("NamedRule needs a name, got an empty one.")


def check_notifications(owner: str, given: object) -> tuple[Notification, ...]:
    """One notification or several, as a tuple; TypeError for anything else."""
    several = tuple(given) if isinstance(given, (list, tuple)) else () if given is None else (given,)
    for each in several:
        if not isinstance(each, Notification) or type(each) is Notification:
            raise TypeError(
                f"{owner}: notifications must be of flyteray.notify, such as Slack(...) or Email(...), got {each!r}."
            )
    return several


def check_url(owner: str, option: str, url: object) -> None:
    """Refuse what is no http or https URL (ValueError)."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        right = False
    if not right:  # not the whole: it may have a password
        begins = str(url)[:12]
        raise ValueError(
            f"{owner}: {option} must be an http or https URL, got one that begins with {begins!r}."
        )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Notification):
        for field in fields(value):
            yield from _texts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(key)
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)
