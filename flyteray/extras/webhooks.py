"""Receivers of events of other systems are absent; an app with a route is one."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_ROUTE = (
    "receive the event in a route of a flyteray.app.extras.FastAPIAppEnvironment, check its signature "
    "there, and start the task with flyteray.run.aio, under a name that follows from the event where "
    "it is to run once."
)

_INSTEAD = {
    **dict.fromkeys(
        (
            "DUPE_LABEL_KEY",
            "EventHandler",
            "EventType",
            "HandshakeFn",
            "ParseFn",
            "Provider",
            "RunOnceResult",
            "SignatureError",
            "VerifyFn",
            "WebhookAppEnvironment",
            "WebhookEvent",
            "WebhookPluginError",
            "blocking_run",
            "constant_time_equals",
            "hex_hmac_sha256",
            "json_body",
            "lower_headers",
            "run_once",
        ),
        _ROUTE,
    ),
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
