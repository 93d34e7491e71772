from __future__ import annotations

from typing import Any

import pytest

import flyteray as flyte
from flyteray.models import ActionPhase
from flyteray.notify import Email, NamedDelivery, NamedRule, Slack, Teams, Webhook

FAILED = ActionPhase.FAILED
URL = "https://hooks.example.com/x"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Slack(on_phase=(), webhook_url=URL), ValueError, "needs a phase"),
        (lambda: Slack(on_phase=ActionPhase.RUNNING, webhook_url=URL), ValueError, "can't be 'running'"),
        (lambda: Slack(on_phase=(FAILED, ActionPhase.RECOVERED), webhook_url=URL), ValueError, "'recovered'"),
        (lambda: Slack(on_phase=FAILED, webhook_url=""), ValueError, "webhook_url must be an http"),
        (lambda: Teams(on_phase=FAILED, webhook_url="ftp://x"), ValueError, "begins with 'ftp://x'"),
        (lambda: Webhook(on_phase=FAILED, url="https://"), ValueError, "url must be an http"),
        (lambda: Webhook(on_phase=FAILED, url=URL, method="FETCH"), ValueError, "one of POST, PUT"),
        (lambda: Webhook(on_phase=FAILED, url=URL, body={"a": object()}), TypeError, "only what JSON can"),
        (lambda: Email(on_phase=FAILED, recipients=()), ValueError, "needs recipients"),
        (lambda: Email(on_phase=FAILED, recipients="a@b"), TypeError, r"write \('a@b',\)"),
        (lambda: Email(on_phase=FAILED, recipients=("a@b",), cc=("nobody",)), ValueError, "'nobody' in cc"),
        (lambda: Email(on_phase=FAILED, recipients=("a@b\nBcc: c@d",)), ValueError, "no address"),
        (lambda: NamedRule(""), ValueError, "empty"),
        (lambda: NamedDelivery(on_phase=FAILED, name=""), ValueError, "empty"),
        (lambda: flyte.with_runcontext(notifications="me"), TypeError, "flyteray.notify"),
        (lambda: flyte.Trigger("t", notifications=[3]), TypeError, "Trigger 't': notifications"),
    ],
    ids=map(str, range(16)),
)
def test_what_can_not_be_told_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_phases_are_one_or_several_in_any_spelling() -> None:
    assert Slack(on_phase=FAILED, webhook_url=URL).on_phase == ("failed",)
    several = Email(on_phase=["failed", ActionPhase.TIMED_OUT], recipients=["a@b"])
    assert (several.on_phase, several.recipients) == (("failed", "timed_out"), ("a@b",))


def test_a_placeholder_that_nobody_knows_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"nothing is known as {{\.Run\.Nam}}.*Did you mean 'Run\.Name'"):
        Slack(on_phase=FAILED, webhook_url=URL, message="{{.Run.Nam}} {{.Phase}}")
