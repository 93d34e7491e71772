"""Routing says how an app is reached: its address, the time that a request may take, links for people."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")
_LONGEST_HOST = 243  # with what follows a subdomain, at most 253
_LONGEST_REQUEST = timedelta(hours=1)
_LONGEST_DRAIN = timedelta(days=1)
_DRAIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Link:
    """A link shown with the app.

    Args:
        path: A URL, or with ``is_relative`` a path below the app's URL.
        title: What people read.
        is_relative: Whether ``path`` is joined to the app's URL.
    """

    path: str
    title: str
    is_relative: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not isinstance(self.title, str):
            raise TypeError(f"A Link needs a str path and a str title, got {self.path!r} and {self.title!r}.")


@dataclass(frozen=True)
class Subdomain:
    """A subdomain that is worked out when the app is deployed; made by one of the two constructors.

    Args:
        app_name: What it begins with.
        project_domain_suffix: What follows; see :meth:`from_app_name`.
        function: What gives it instead; see :meth:`from_function`.

    Raises:
        ValueError: Neither or both of a name and a function, or another suffix.
    """

    app_name: str | None = None
    project_domain_suffix: Literal["hash", "default"] = "hash"
    function: Callable[[Any, Any], str] | None = None

    def __post_init__(self) -> None:
        if (self.app_name is None) == (self.function is None):
            raise ValueError(
                "A Subdomain is made of exactly one of app_name and function: use Subdomain.from_app_name(...) or "
                "Subdomain.from_function(...)."
            )
        if self.project_domain_suffix not in ("hash", "default"):
            raise ValueError(
                f'project_domain_suffix must be "hash" or "default", got {self.project_domain_suffix!r}.'
            )

    @classmethod
    def from_app_name(
        cls, app_name: str, project_domain_suffix: Literal["hash", "default"] = "hash"
    ) -> Subdomain:
        """``<app>-<8 hex digits of project and domain>``, or ``<app>-<project>-<domain>``."""
        return cls(app_name=app_name, project_domain_suffix=project_domain_suffix)

    @classmethod
    def from_function(cls, function: Callable[[Any, Any], str]) -> Subdomain:
        """The text that ``function(app_env, context)`` returns; ``context`` has ``project`` and ``domain``."""
        return cls(function=function)

    def resolve(self, env: Any, context: Any) -> str:
        """The subdomain of an environment.

        Args:
            env: The app's environment.
            context: Has ``project`` and ``domain``.

        Raises:
            ValueError: The function returned no text, or project and domain are not known.
        """
        if self.function is not None:
            name = self.function(env, context)
            if not isinstance(name, str) or not name:
                raise ValueError(
                    f"The subdomain function of app {env.name!r} must return a str, got {name!r}."
                )
            return name
        if self.project_domain_suffix == "default":
            if not context.project or not context.domain:
                raise ValueError(
                    f"The subdomain of app {env.name!r} is made of project and domain, but they are "
                    f"{context.project!r} and {context.domain!r}: say with_servecontext(project=..., domain=...)."
                )
            return f"{self.app_name}-{context.project}-{context.domain}"
        digest = hashlib.sha256(f"{context.project}-{context.domain}".encode()).hexdigest()
        return f"{self.app_name}-{digest[:8]}"


@dataclass(frozen=True)
class Domain:
    """The host names that an app answers to besides ``<name>.localhost``. No two apps can have the same one.

    Args:
        subdomain: ``"x"`` makes it answer to ``x.localhost``, which becomes its URL.
        custom_domain: A whole host name, which your DNS has to point at the ingress.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: What can't be a host name, an IP address, or ``localhost``, where apps are told by the path.
    """

    subdomain: str | Subdomain | None = None
    custom_domain: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.subdomain, str):
            object.__setattr__(self, "subdomain", host_name("subdomain", self.subdomain))
        elif self.subdomain is not None and not isinstance(self.subdomain, Subdomain):
            raise TypeError(f"Domain: subdomain must be a str or a Subdomain, got {self.subdomain!r}.")
        if self.custom_domain is not None:
            if not isinstance(self.custom_domain, str):
                raise TypeError(f"Domain: custom_domain must be a str, got {self.custom_domain!r}.")
            host = host_name("custom_domain", self.custom_domain)
            if host == "localhost" or host.rpartition(".")[2].isdecimal():
                raise ValueError(
                    f"Domain: custom_domain must be a host name of the app's own, not {self.custom_domain!r}, "
                    "where every app is reached by its path."
                )
            object.__setattr__(self, "custom_domain", host)


def host_name(what: str, text: str) -> str:
    """A host name, or the first labels of one, in lower case.

    Raises:
        ValueError: it can't be one; the message starts with ``what``.
    """
    host = text.lower()
    if not _HOST.fullmatch(host) or len(host) > _LONGEST_HOST:
        raise ValueError(
            f"{what} {text!r} can't be a host name: use letters, digits and -, in words joined by dots, each of at "
            "most 63 characters with a letter or digit at both ends."
        )
    return host


def origins(what: str, given: object) -> tuple[str, ...]:
    """Origins of pages, as browsers say them.

    Raises:
        TypeError: no list of texts; the message starts with ``what``.
        ValueError: what is no origin.
    """
    if (
        isinstance(given, str)
        or not isinstance(given, Sequence)
        or not all(isinstance(each, str) for each in given)
    ):
        raise TypeError(f"{what}: allowed_origins must be a list of str, got {given!r}.")
    found = [each.lower() for each in given]
    for each in found:
        if each != "*" and not _ORIGIN.fullmatch(each):
            raise ValueError(
                f"{what}: {each!r} in allowed_origins is no origin: write scheme, host and port, if it has one, and "
                "no path, such as https://page.example or http://localhost:3000, or * for all."
            )
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Timeouts:
    """The times that things may take.

    Args:
        request: Until a request has its answer's first byte: seconds or a timedelta, at most an hour; None or 0: an
            hour. Then the client is told with status 504. Counted from when the whole request has arrived. It is also
            the longest silence within an answer that is streamed; WebSockets know no limit but a day of silence. A
            replica whose event loop a request blocks gets no others while there is a free one, and is replaced when
            this time has passed.
        drain: How long a replica that is to go, because its app sleeps, is replaced or needs fewer, may work on what is
            open and on what handlers have left running: tasks, calls in executors and threads that are no daemons,
            or a :class:`BackgroundTask` of Starlette. Seconds or a timedelta, at most a day. It goes as soon as nothing
            of that is left. An app does not sleep while there is some, unless that runs for longer than this. What
            is cut is named in the app's log. An app that is stopped or deleted has a minute at most; in local mode what
            ``deactivate_timeout`` leaves. Of programs only open connections are known. Default: 10 minutes. Not of
            Flyte.

    Raises:
        TypeError: Neither an int nor a timedelta.
        ValueError: Negative, or more than there may be.
    """

    request: int | timedelta | None = None
    drain: int | timedelta = _DRAIN

    def __post_init__(self) -> None:
        if self.request is not None:
            object.__setattr__(self, "request", _span("request", self.request, _LONGEST_REQUEST, "one hour"))
        object.__setattr__(self, "drain", _span("drain", self.drain, _LONGEST_DRAIN, "one day"))

    def request_s(self) -> float | None:
        """The time for a request in seconds."""
        return self.request.total_seconds() if isinstance(self.request, timedelta) else self.request

    def drain_s(self) -> float:
        """The time of a replica that is to go in seconds."""
        return self.drain.total_seconds() if isinstance(self.drain, timedelta) else self.drain


def _span(name: str, given: object, longest: timedelta, words: str) -> timedelta:
    if isinstance(given, bool) or not isinstance(given, (int, timedelta)):
        raise TypeError(f"Timeouts {name} must be an int of seconds or a timedelta, got {given!r}.")
    span = timedelta(seconds=given) if isinstance(given, int) else given
    if not timedelta() <= span <= longest:
        raise ValueError(f"Timeouts {name} must be from 0 s to {words}, got {given!r}.")
    return span
