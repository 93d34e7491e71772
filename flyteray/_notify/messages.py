"""A notification becomes what is sent: its words are put in. No effects here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import Any

from flyteray._declare.options import notification
from flyteray._declare.options.notification import PLACEHOLDER, Email, Notification, Slack, Teams, Webhook
from flyteray._plan.spec import NotificationSpec

_PLAIN = "Run {{.Run.Name}} of {{.Run.Task}}: {{.Phase}}"
_ERROR = "\n{{.Error}}"
_BODY = {
    "run": "{{.Run.Name}}",
    "task": "{{.Run.Task}}",
    "project": "{{.Run.Project}}",
    "domain": "{{.Run.Domain}}",
    "phase": "{{.Phase}}",
    "error": "{{.Error}}",
}
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "DELETE")
_ADAPTIVE = "application/vnd.microsoft.card.adaptive"


@dataclass(frozen=True)
class Ended:
    """A run that has ended, as it is told of; what is not known is empty."""

    run: str
    task: str
    phase: str
    error: str = ""
    project: str = ""
    domain: str = ""


@dataclass(frozen=True)
class Request:
    """A request that delivers a notification; ``json`` None: it has no body."""

    method: str
    url: str
    headers: Mapping[str, str]
    json: Any = None


def spec_of(declared: Notification) -> NotificationSpec:
    """A notification as it travels."""
    stated = asdict(declared)
    phases = tuple(str(getattr(each, "value", each)) for each in stated.pop("on_phase", ()))
    return NotificationSpec(kind=type(declared).__name__, phases=phases, stated=stated)


def declared_of(spec: NotificationSpec) -> Notification:
    """The notification again."""
    kind: type[Notification] = getattr(notification, spec.kind)
    phases = {"on_phase": spec.phases} if spec.phases else {}
    return kind(**phases, **spec.stated)


def message(declared: Notification, ended: Ended, sender: str) -> Request | EmailMessage:
    """What tells of a run that has ended; a mail comes from ``sender``."""
    text = _PLAIN + (_ERROR if ended.error else "")
    if isinstance(declared, Email):
        return _mail(declared, ended, sender)
    if isinstance(declared, Slack):
        slack = {"text": declared.message or text} | ({"blocks": declared.blocks} if declared.blocks else {})
        return Request("POST", declared.webhook_url, {}, filled(slack, ended))
    if isinstance(declared, Teams):
        card = declared.card or _card(declared.title, declared.message or text)
        attachment = {"contentType": _ADAPTIVE, "content": filled(card, ended)}
        return Request("POST", declared.webhook_url, {}, {"type": "message", "attachments": [attachment]})
    if isinstance(declared, Webhook):
        body = declared.body
        if body is None and declared.method not in _WITHOUT_BODY:
            body = _BODY
        headers = {name: _line(filled(value, ended)) for name, value in (declared.headers or {}).items()}
        return Request(declared.method, filled(declared.url, ended), headers, filled(body, ended))
    raise AssertionError(declared)


def filled(value: Any, ended: Ended) -> Any:
    """A text with what is known in its placeholders, or whatever has such texts in it."""
    if isinstance(value, str):
        known = {
            "Run.Name": ended.run,
            "Run.Task": ended.task,
            "Run.Project": ended.project,
            "Run.Domain": ended.domain,
            "Phase": ended.phase,
            "Error": ended.error,
        }
        return PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), value)
    if isinstance(value, Mapping):
        return {filled(key, ended): filled(each, ended) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(each, ended) for each in value]
    return value


def _mail(declared: Email, ended: Ended, sender: str) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = _line(filled(declared.subject, ended))
    mail["From"] = sender
    for header in ("recipients", "cc", "bcc"):
        if addresses := getattr(declared, header):
            mail["To" if header == "recipients" else header.capitalize()] = ", ".join(addresses)
    mail.set_content(filled(declared.body, ended))
    if declared.html_body is not None:
        mail.add_alternative(filled(declared.html_body, ended), subtype="html")
    return mail


def _card(title: str, text: str) -> dict[str, Any]:
    return {
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "text": title, "wrap": True},
            {"type": "TextBlock", "text": text, "wrap": True},
        ],
    }


def _line(text: str) -> str:
    """A text as a header can hold it."""
    return " ".join(text.split())
