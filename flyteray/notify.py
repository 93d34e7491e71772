"""Notifications tell people and programs how runs have ended."""

from __future__ import annotations

from flyteray import _public
from flyteray._declare.options.notification import (
    Email,
    NamedDelivery,
    NamedRule,
    Notification,
    Slack,
    Teams,
    Webhook,
)

__all__ = ["Email", "NamedDelivery", "NamedRule", "Notification", "Slack", "Teams", "Webhook"]

_public.adopt(__name__, globals())
