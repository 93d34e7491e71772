"""Notifications are delivered to servers that are real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyteray._machine.ports import free_port
from flyteray._notify.delivery import NotDeliveredError, deliver
from flyteray._notify.messages import Ended
from flyteray._settings import Settings
from flyteray.errors import SecretNotFoundError
from flyteray.notify import Email, NamedDelivery, Notification, Slack, Webhook
from tests.receivers import Mailbox, Received, http_server, mail_server

ENDED = Ended("r1", "env.train", "failed", "ValueError: no")
MAIL = Email(on_phase="failed", recipients=("a@b.example", "c@d.example"), bcc=("e@f.example",))


@pytest.fixture
def server() -> Iterator[Received]:
    with http_server() as received:
        yield received


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


def send(declared: Notification, smtp: str | None = None, **secrets: str) -> None:
    settings = replace(
        Settings(home=Path("/nowhere"), storage="/nowhere"), smtp=smtp, smtp_from="me@x.example"
    )

    def secret(name: str) -> bytes:
        if name.rpartition("/")[2] not in secrets:
            raise SecretNotFoundError(f"There is no secret {name!r}.")
        return secrets[name.rpartition("/")[2]].encode()

    deliver(declared, ENDED, settings, secret)


def refused(declared: Notification, **options: Any) -> NotDeliveredError:
    with pytest.raises(NotDeliveredError) as error:
        send(declared, **options)
    return error.value


def test_a_request_arrives(server: Received) -> None:
    send(
        Webhook(
            on_phase="failed",
            url=f"{server.url}/a",
            headers={"X-Team": "{{.Phase}}"},
            body={"e": "{{.Error}}"},
        )
    )
    send(Webhook(on_phase="failed", url=f"{server.url}/b", method="GET"))

    one, two = server.requests
    assert (one["method"], one["path"], one["headers"]["X-Team"]) == ("POST", "/a", "failed")
    assert one["body"] == {"e": "ValueError: no"}
    assert (two["method"], two["body"]) == ("GET", None)


@pytest.mark.parametrize(("status", "final"), [(404, True), (302, True), (429, False), (503, False)])
def test_an_answer_that_is_no_success_says_whether_another_try_may_help(
    server: Received, status: int, final: bool
) -> None:
    server.answers = [status]

    error = refused(Slack(on_phase="failed", webhook_url=f"{server.url}/secret-path"))

    assert (str(error), error.final) == (f"127.0.0.1 answered {status}: so it is", final)


def test_a_server_that_is_not_there_may_come_back() -> None:
    url = f"http://127.0.0.1:{free_port('127.0.0.1')}/secret-path"

    error = refused(Slack(on_phase="failed", webhook_url=url))

    assert (error.final, "secret-path" in str(error)) == (False, False)
    mail = refused(MAIL, smtp=f"smtp://127.0.0.1:{free_port('127.0.0.1')}")
    assert (mail.final, "127.0.0.1 did not take the mail" in str(mail)) == (False, True)


def test_a_mail_arrives_at_all_its_recipients(mailbox: Mailbox) -> None:
    send(MAIL, smtp=mailbox.url)

    mail, recipients = mailbox.mails[-1], mailbox.recipients[-1]
    assert recipients == ["a@b.example", "c@d.example", "e@f.example"]
    assert (mail["Subject"], mail["From"], mail["Bcc"]) == ("Run r1 failed", "me@x.example", None)


def test_a_mail_that_can_not_be_sent_says_why(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "set FLYTERAY_SMTP" in str(refused(MAIL))
    monkeypatch.setattr(mailbox, "refused", {"gone@x.example"})
    nobody = refused(Email(on_phase="failed", recipients=("gone@x.example",)), smtp=mailbox.url)
    assert (str(nobody), nobody.final) == ("127.0.0.1 refused gone@x.example", True)
    login = refused(MAIL, smtp=mailbox.url.replace("//", "//user:hidden@"))
    assert (login.final, "hidden" in str(login)) == (True, False)


def test_a_named_one_is_sent_where_its_secret_says(server: Received) -> None:
    declared = NamedDelivery(on_phase="failed", name="oncall")

    send(declared, oncall=f"slack+{server.url}/s\n{server.url}/w")

    assert [request["path"] for request in server.requests] == ["/s", "/w"]
    assert "no secret 'notify/oncall'" in str(refused(declared))
    assert refused(declared, oncall="nowhere").final
