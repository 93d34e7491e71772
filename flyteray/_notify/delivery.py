"""A notification is delivered, by HTTP or by mail: one try, and how long until the next."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from flyteray._declare.options.notification import NamedDelivery, NamedRule, Notification
from flyteray._notify.addresses import named, secret_name
from flyteray._notify.messages import Ended, Request, message
from flyteray._settings import Settings
from flyteray.errors import BaseRuntimeError

AGAIN_S = (1.0, 5.0, 30.0, 120.0, 720.0)  # after the first try, the second, ...
_TIMEOUT_S = 10.0
_MAYBE_LATER = (408, 425, 429)
_SHOWN = 200  # characters of an answer


class NotDeliveredError(Exception):
    """A notification was not delivered; ``final`` tells that trying again is pointless."""

    def __init__(self, why: str, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


def deliver(declared: Notification, ended: Ended, settings: Settings, secret: Callable[[str], bytes]) -> None:
    """Tell of a run that has ended; ``secret`` gives the value of the secret of a name.

    NotDeliveredError where nobody was told; of several addresses of one name those before have been.
    """
    if isinstance(declared, (NamedDelivery, NamedRule)):
        try:
            text = secret(secret_name(declared.name)).decode()
            several = named(declared, text, ended.phase)
        except (BaseRuntimeError, ValueError) as error:  # bytes that are no text as well
            raise NotDeliveredError(str(error), final=True) from error
        for each in several:
            deliver(each, ended, settings, secret)
        return
    told = message(declared, ended, settings.mail_sender)
    if isinstance(told, EmailMessage):
        _mail(told, settings.smtp)
    else:
        _ask(told)


def _ask(request: Request) -> None:
    import httpx  # deferred: most runs notify nobody

    where = urlsplit(request.url).hostname  # the rest may be a secret
    try:
        with httpx.Client(timeout=_TIMEOUT_S) as client:
            answer = client.request(
                request.method, request.url, headers=dict(request.headers), json=request.json
            )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise NotDeliveredError(f"{where} can't be asked: {error}", final=True) from error
    except httpx.HTTPError as error:
        raise NotDeliveredError(f"{where} did not answer: {type(error).__name__}: {error}") from error
    if not answer.is_success:
        final = answer.status_code < 500 and answer.status_code not in _MAYBE_LATER
        text = " ".join(answer.text.split())[:_SHOWN]
        raise NotDeliveredError(f"{where} answered {answer.status_code}: {text}", final)


def _mail(mail: EmailMessage, server: str | None) -> None:
    if server is None:
        raise NotDeliveredError(
            "no mail server is known: set FLYTERAY_SMTP, as in smtp://user:password@mail.example.com:587, where the "
            "cluster's head is started (in local mode: in this process's environment)",
            final=True,
        )
    url = urlsplit(server)
    host = url.hostname or ""
    try:
        with _connected(url.scheme, host, url.port) as smtp:
            if url.username:
                smtp.login(unquote(url.username), unquote(url.password or ""))
            smtp.send_message(mail)
    except smtplib.SMTPResponseException as error:
        text = (
            error.smtp_error.decode(errors="replace")
            if isinstance(error.smtp_error, bytes)
            else error.smtp_error
        )
        why = f"{host} answered {error.smtp_code}: {text}"
        raise NotDeliveredError(why, final=error.smtp_code >= 500) from error
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        refused = ", ".join(error.recipients)
        raise NotDeliveredError(f"{host} refused {refused}", final=min(codes) >= 500) from error
    except smtplib.SMTPNotSupportedError as error:
        raise NotDeliveredError(f"{host}: {error}", final=True) from error
    except (OSError, smtplib.SMTPException) as error:
        raise NotDeliveredError(f"{host} did not take the mail: {type(error).__name__}: {error}") from error


def _connected(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    """A connection to a mail server, encrypted at once (``smtps``), or if the server can."""
    trusted = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=_TIMEOUT_S, context=trusted)
    smtp = smtplib.SMTP(host, port or 25, timeout=_TIMEOUT_S)
    try:
        smtp.ehlo()
        if smtp.has_extn("starttls"):
            smtp.starttls(context=trusted)
            smtp.ehlo()
    except BaseException:
        smtp.close()
        raise
    return smtp
