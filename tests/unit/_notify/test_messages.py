from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest

from flyteray._notify.messages import Ended, Request, declared_of, message, spec_of
from flyteray.notify import Email, NamedDelivery, NamedRule, Notification, Slack, Teams, Webhook

ENDED = Ended("r1", "env.train", "failed", 'ValueError: "no"\nat all', "p", "d")
WELL = Ended("r1", "env.train", "succeeded")
URL = "https://hooks.example.com/x"


def sent(declared: Notification, ended: Ended = ENDED) -> Any:
    return message(declared, ended, "me@here")


@pytest.mark.parametrize(
    ("declared", "body"),
    [
        (
            Slack(on_phase="failed", webhook_url=URL),
            {"text": 'Run r1 of env.train: failed\nValueError: "no"\nat all'},
        ),
        (
            Slack(
                on_phase="failed",
                webhook_url=URL,
                message="{{ .Phase }}",
                blocks=({"text": ["{{.Run.Name}}"]},),
            ),
            {"text": "failed", "blocks": [{"text": ["r1"]}]},
        ),
        (
            Webhook(on_phase="failed", url=URL),
            {
                "run": "r1",
                "task": "env.train",
                "project": "p",
                "domain": "d",
                "phase": "failed",
                "error": 'ValueError: "no"\nat all',
            },
        ),
        (
            Webhook(on_phase="failed", url=URL, method="PUT", body={"{{.Phase}}": 1, "n": None}),
            {"failed": 1, "n": None},
        ),
        (Webhook(on_phase="failed", url=URL, method="GET"), None),
    ],
    ids=str,
)
def test_what_a_request_says(declared: Notification, body: Any) -> None:
    request = sent(declared)

    assert isinstance(request, Request)
    assert (request.url, request.json) == (URL, body)


def test_a_card_for_teams() -> None:
    plain = sent(Teams(on_phase="failed", webhook_url=URL))
    own = sent(Teams(on_phase="failed", webhook_url=URL, card={"body": "{{.Run.Name}}"}))

    texts = [block["text"] for block in plain.json["attachments"][0]["content"]["body"]]
    assert texts == ["Run r1 failed", 'Run r1 of env.train: failed\nValueError: "no"\nat all']
    assert own.json["attachments"][0]["content"] == {"body": "r1"}


def test_placeholders_are_filled_in_urls_and_headers_which_stay_lines() -> None:
    declared = Webhook(on_phase="failed", url=f"{URL}/{{{{.Run.Name}}}}", headers={"X-Error": "{{.Error}}"})

    request = sent(declared)

    assert (request.url, request.headers) == (f"{URL}/r1", {"X-Error": 'ValueError: "no" at all'})


def test_a_mail() -> None:
    declared = Email(
        on_phase="failed",
        recipients=("a@b", "c@d"),
        cc=("e@f",),
        bcc=("g@h",),
        subject="{{.Phase}}: {{.Error}}",
        html_body="<b>{{.Run.Name}}</b>",
    )

    mail = sent(declared)

    assert isinstance(mail, EmailMessage)
    assert (mail["To"], mail["Cc"], mail["From"]) == ("a@b, c@d", "e@f", "me@here")
    assert mail["Subject"] == 'failed: ValueError: "no" at all'
    assert [part.get_content().strip() for part in mail.iter_parts()][1] == "<b>r1</b>"
    assert "Project/Domain: p/d" in next(iter(mail.iter_parts())).get_content()


def test_a_run_that_ended_well_has_no_error_to_tell() -> None:
    assert sent(Slack(on_phase="succeeded", webhook_url=URL), WELL).json == {
        "text": "Run r1 of env.train: succeeded"
    }


@pytest.mark.parametrize(
    "declared",
    [
        Slack(on_phase=("failed", "aborted"), webhook_url=URL, blocks=({"a": [1]},)),
        Email(on_phase="failed", recipients=("a@b",)),
        NamedRule("nightly"),
        NamedDelivery(on_phase="timed_out", name="oncall"),
    ],
    ids=lambda declared: type(declared).__name__,
)
def test_a_notification_travels(declared: Notification) -> None:
    spec = spec_of(declared)

    arrived = declared_of(type(spec).model_validate_json(spec.model_dump_json()))

    assert arrived == declared
