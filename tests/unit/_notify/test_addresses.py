from __future__ import annotations

from typing import Any

import pytest

from flyteray._notify.addresses import named
from flyteray.notify import Email, NamedDelivery, NamedRule, Slack, Teams, Webhook

DELIVERY = NamedDelivery(on_phase="failed", name="oncall")
RULE = NamedRule("nightly")


def test_each_kind_of_address_on_a_line_of_its_own() -> None:
    text = "slack+https://s/x\nteams+https://t/x\n\n https://w/x \nmailto:a@b, c@d\n"

    assert named(DELIVERY, text, "failed") == [
        Slack(on_phase="failed", webhook_url="https://s/x"),
        Teams(on_phase="failed", webhook_url="https://t/x"),
        Webhook(on_phase="failed", url="https://w/x"),
        Email(on_phase="failed", recipients=("a@b", "c@d")),
    ]


def test_a_rule_says_its_phases_itself() -> None:
    text = "failed,timed_out mailto:a@b\nsucceeded https://w/x"

    assert [type(each) for each in named(RULE, text, "timed_out")] == [Email]
    assert [type(each) for each in named(RULE, text, "succeeded")] == [Webhook]
    assert named(RULE, text, "aborted") == []


@pytest.mark.parametrize(
    ("declared", "text", "message"),
    [
        (DELIVERY, "hooks.slack.com", "'notify/oncall' is no address"),
        (DELIVERY, "mailto:nobody", "no address"),
        (DELIVERY, "slack+ftp://x", "http or https URL"),
        (RULE, "https://w/x", "'notify/nightly' has a line that begins with no phases"),
        (RULE, "fialed https://w/x", "no phases"),
    ],
)
def test_what_is_no_address_says_so_and_shows_nothing_of_it(declared: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        named(declared, text, "failed")
    assert "hooks.slack.com" not in str(refused.value)
