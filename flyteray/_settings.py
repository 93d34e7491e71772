"""Settings are what is configured outside the program, in environment variables: they are read here only."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flyteray import _place
from flyteray._traces.asked import Variables, variables_in
from flyteray.errors import InitializationError

# Where tasks and apps find out whose they are, as in Flyte.
ORG = "_U_ORG_NAME"
PROJECT = "FLYTE_INTERNAL_EXECUTION_PROJECT"
DOMAIN = "FLYTE_INTERNAL_EXECUTION_DOMAIN"
_ALLOWED_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*")
_HEADER = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_TOLD_BY_INGRESS = re.compile("x-flyteray(-.*)?|x-forwarded-(for|proto|host|port|prefix)|forwarded")
_FROM_EVERYBODY = re.compile(
    "host|authorization|connection|upgrade|content-.*|transfer-encoding|te|trailer|expect|cookie|accept.*|origin|"
    "access-control-.*|sec-.*"
)


@dataclass(frozen=True)
class Tls:
    """Where the ingress of each machine finds what it shows to clients that come by TLS.

    Args:
        certificate: A file in PEM: the certificate, then those that lead from it to an authority.
        key: The file with its private key, in PEM; the same one where both are in it.
        clients: A file in PEM with authorities. Clients must show a certificate that one of them has signed; None: all
            may come.
        port: The port; 0 for the one that was used before, or a free one.
    """

    certificate: Path
    key: Path
    clients: Path | None = None
    port: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return (self.certificate, self.key, *([self.clients] if self.clients else []))


@dataclass(frozen=True)
class Settings:
    """Where flyteray keeps its things and which cluster it talks to.

    Attributes:
        home: Folder of the local cluster's state, token and logs (``FLYTERAY_HOME``; ``~/.flyteray``).
        storage: Where bundles, outputs and files are kept, a path or a URL (``FLYTERAY_STORAGE``; ``storage/`` in
            the home). Every node of the cluster must find the same there.
        database: SQLAlchemy URL of the registry, which is one cluster's at a time: ``sqlite:////path/file`` or
            ``postgresql://user@host/database`` (``FLYTERAY_DATABASE``; None: an SQLite file in the storage root).
        address: A Ray cluster (``RAY_ADDRESS``); None: the local one in the background, started when needed.
        host: The IP address that the ingress listens on (``FLYTERAY_HOST``; 127.0.0.1, this machine only).
        port: The port (``FLYTERAY_PORT``); None: a free one.
        tls: The certificate by which clients come by TLS, its key and port (``FLYTERAY_TLS_CERTIFICATE`` and
            ``FLYTERAY_TLS_KEY``, paths of files in PEM on every machine that takes traffic, or one file with both;
            ``FLYTERAY_TLS_PORT``, a free one unless set), and whose certificates clients must show
            (``FLYTERAY_TLS_CLIENTS``, a file of authorities; nobody must). Who asks without TLS from another machine is
            sent there. Another certificate in the files is shown within seconds. None: TLS is left to what is in front.
        url: The address that people are given for apps, such as that of a load balancer (``FLYTERAY_URL``): an app is
            below it by its name, or where ``{app}`` stands; None: the ingress of the head.
        ingress_nodes: Whether ``all`` machines of a cluster take traffic from outside, or the ``head`` alone
            (``FLYTERAY_INGRESS``; all). One where nothing runs takes none while an autoscaler may take it away.
        access_log: Whether the ingress writes an entry of each request, which ``flyteray logs app NAME --access`` shows
            (``FLYTERAY_ACCESS_LOG``, ``on`` or ``off``; off). At full load that takes up to a tenth of the requests.
        auth: Whether the ingress asks for keys (``FLYTERAY_AUTH``, ``on`` or ``off``); None: where it listens beyond
            this machine.
        trusted_proxies: The networks of proxies in front of the ingress, in CIDR notation: what they say of a request's
            client, scheme and host is taken over (``FLYTERAY_TRUSTED_PROXIES``, addresses and networks with commas
            between; nobody).
        trusted_headers: Further headers that such a proxy sets and nobody else may send, in lower case
            (``FLYTERAY_TRUSTED_HEADERS``, names with commas between; none).
        allowed_hosts: The hosts that the ingress answers to where an app asks for no key, in lower case;
            ``*.example.com`` stands for all below, ``*`` for all (``FLYTERAY_ALLOWED_HOSTS``, names with commas
            between). That of ``url``, ``localhost``, the machine's own name, what apps have as their ``Domain``, and
            all addresses need no naming.
        half_closed: Whether a client that has closed its side of a connection gets its answer
            (``FLYTERAY_HALF_CLOSED``, ``answered`` or ``left``). TCP does not tell it from one that has left: a replica
            learns of that at once only if such clients count as ``left``, the default; otherwise with what it sends, or
            after about a minute. With ``answered`` a request whose headers are far too large gets status 400, not 431.
        num_cpus: Cores that the local cluster offers (``FLYTERAY_NUM_CPUS``); None: all.
        object_store_memory: Bytes of shared memory for the local cluster's objects
            (``FLYTERAY_OBJECT_STORE_MEMORY``); None: Ray's default, 30% of the memory that is free.
        cache_size: Bytes that copies of objects may have on each machine, in ``cache/`` in its home
            (``FLYTERAY_CACHE_SIZE``); None: a tenth of the disk.
        retention_days: Days after its end for which a run is kept, with its records, logs, inputs, outputs and files
            (``FLYTERAY_RETENTION_DAYS``); one that an app or an artifact needs stays. None: until it is deleted.
        secrets_key: What secrets are encrypted with (``FLYTERAY_SECRETS_KEY``; None: the file ``secrets.key`` in the
            home, made when it is first needed).
        root_dir: The folder that shipped code is laid out from; see :func:`flyteray.init`, the only one to say it.
        org: Whose what runs is, as far as it is told; see :func:`flyteray.init`
            (``_U_ORG_NAME``, which tasks and apps have from those who start them, as of the next two).
        project: The project of that organisation (``FLYTE_INTERNAL_EXECUTION_PROJECT``).
        domain: The domain of the project (``FLYTE_INTERNAL_EXECUTION_DOMAIN``).
        strict_python: Whether an image that asks for another Python than the cluster's is refused
            (``FLYTERAY_IMAGE_PYTHON=strict``); otherwise a warning says that it gets the cluster's.
        container: The URI of the container image that all nodes run in (``FLYTERAY_CONTAINER``; None: that is not
            known): a task or an app that asks for it has it already.
        smtp: The mail server of notifications, a URL such as ``smtp://user:password@mail.example.com:587`` or
            ``smtps://…`` (``FLYTERAY_SMTP``); None: there is none. With ``smtp`` it is encrypted where the server can.
        smtp_from: The address that mail comes from (``FLYTERAY_SMTP_FROM``); None: see :attr:`mail_sender`.
        traces: The variables of OpenTelemetry (``OTEL_…``), which say whether and where spans of requests, runs and
            actions are sent: to ``OTEL_EXPORTER_OTLP_ENDPOINT``, or nowhere where neither that nor
            ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` is set. All processes of a cluster go by those that it was started
            with, and by what their own machine or environment says instead. It takes ``pip install 'flyteray[otel]'``.
        start_timeout_s: How long a local cluster may take to start (``FLYTERAY_START_TIMEOUT``; 120).
    """

    home: Path
    storage: str
    database: str | None = None
    address: str | None = None
    port: int | None = None
    num_cpus: int | None = None
    object_store_memory: int | None = None
    start_timeout_s: float = 120.0
    root_dir: Path | None = None
    secrets_key: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    auth: bool | None = None
    strict_python: bool = False
    org: str | None = None
    project: str | None = None
    domain: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    trusted_headers: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    half_closed: bool = False
    url: str | None = None
    ingress_nodes: str = "all"
    container: str | None = None
    cache_size: int | None = None
    retention_days: int | None = None
    smtp: str | None = field(default=None, repr=False)
    smtp_from: str | None = None
    access_log: bool = False
    tls: Tls | None = None
    traces: Variables = field(default=(), repr=False)

    @classmethod
    def load(cls) -> Settings:
        """The settings of this process's environment."""
        return cls.of(os.environ)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """The settings that an environment asks for; empty values count as missing.

        Raises:
            InitializationError: a number is none, or is out of range; no IP address or network; neither on nor off;
                no header that a proxy may be trusted with, or headers and no proxy; a storage that can't be one;
                something of TLS and no certificate.
        """
        home = _absolute(environ.get("FLYTERAY_HOME") or "~/.flyteray")
        trusted = _networks(environ, "FLYTERAY_TRUSTED_PROXIES")
        return cls(
            home=home,
            storage=_storage(environ.get("FLYTERAY_STORAGE") or str(home / "storage")),
            database=_database(environ, "FLYTERAY_DATABASE"),
            address=environ.get("RAY_ADDRESS") or None,
            host=_host(environ, "FLYTERAY_HOST") or "127.0.0.1",
            port=_whole(environ, "FLYTERAY_PORT", 0, 65535),
            auth={"on": True, "off": False}.get(_word(environ, "FLYTERAY_AUTH", "on", "off")),
            access_log=_word(environ, "FLYTERAY_ACCESS_LOG", "on", "off") == "on",
            trusted_proxies=trusted,
            trusted_headers=_headers(environ, "FLYTERAY_TRUSTED_HEADERS", trusted),
            allowed_hosts=_allowed_hosts(environ, "FLYTERAY_ALLOWED_HOSTS"),
            half_closed=_word(environ, "FLYTERAY_HALF_CLOSED", "answered", "left") == "answered",
            tls=_tls(environ),
            url=_url(environ, "FLYTERAY_URL"),
            ingress_nodes=_word(environ, "FLYTERAY_INGRESS", "all", "head") or "all",
            num_cpus=_whole(environ, "FLYTERAY_NUM_CPUS", 1, 65536),
            object_store_memory=_whole(environ, "FLYTERAY_OBJECT_STORE_MEMORY", 75 * 2**20, 2**50),
            cache_size=_whole(environ, "FLYTERAY_CACHE_SIZE", 1, 2**60),
            retention_days=_whole(environ, "FLYTERAY_RETENTION_DAYS", 1, 36500),
            strict_python=bool(_word(environ, "FLYTERAY_IMAGE_PYTHON", "strict")),
            container=environ.get("FLYTERAY_CONTAINER") or None,
            secrets_key=environ.get("FLYTERAY_SECRETS_KEY") or None,
            start_timeout_s=float(_whole(environ, "FLYTERAY_START_TIMEOUT", 1, 86400) or 120),
            smtp=_smtp(environ, "FLYTERAY_SMTP"),
            smtp_from=_sender(environ, "FLYTERAY_SMTP_FROM"),
            org=environ.get(ORG) or None,
            project=environ.get(PROJECT) or None,
            domain=environ.get(DOMAIN) or None,
            traces=variables_in(environ),
        )

    @property
    def database_url(self) -> str:
        """The registry's address: an SQLite file beside the outputs where they are on disk, unless it is given."""
        folder = self.home if "://" in self.storage else Path(self.storage)
        return self.database or f"sqlite:///{folder / 'registry.sqlite'}"

    @property
    def answered_hosts(self) -> tuple[str, ...]:
        """The hosts that were named for the ingress to answer to."""
        named = urlsplit((self.url or "").replace("{app}", "app")).hostname
        return tuple(dict.fromkeys([*self.allowed_hosts, *([named] if named else [])]))

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can reach the ingress."""
        return not ipaddress.ip_address(self.host).is_loopback

    @property
    def asks_for_keys(self) -> bool:
        """Whether apps that require auth answer only those who send a key."""
        return self.beyond_loopback if self.auth is None else self.auth

    @property
    def mail_sender(self) -> str:
        """The address that mail comes from: that which is set, the mail server's user, or flyteray at this machine."""
        user = unquote(urlsplit(self.smtp or "").username or "")
        return self.smtp_from or (user if "@" in user else f"flyteray@{socket.gethostname()}")

    @property
    def exposure(self) -> str | None:
        """What to warn of before anything is started so; None: nothing."""
        if self.asks_for_keys or not self.beyond_loopback:
            return None
        return (
            f"apps are open to everybody who reaches this machine: the ingress listens on {self.host} and asks for "
            "no keys (FLYTERAY_AUTH=off or --no-auth)."
        )

    @property
    def secrets_key_path(self) -> Path:
        """The file that the key of secrets is in unless :attr:`secrets_key` is."""
        return self.home / "secrets.key"

    @property
    def temp_dir(self) -> Path:
        """The local cluster's folder of sockets, logs and caches; short, for a socket's path has 107 bytes at most."""
        tag = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:8]
        base = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
        return base / f"flyteray-{os.getuid()}-{tag}"


def ip_address(text: str) -> str:
    """An IP address as it is usually written.

    Raises:
        ValueError: it is none, or one of a link (``fe80::1%eth0``), which nobody else can use.
    """
    if "%" in text:
        raise ValueError(f"{text!r} holds for one link only.")
    return str(ipaddress.ip_address(text))


def trusted_header(text: str) -> str:
    """The name of a header that a proxy may be trusted with, in lower case.

    Raises:
        ValueError: it can't be one; the message says why.
    """
    name = text.lower()
    if not _HEADER.fullmatch(name):
        raise ValueError("a header's name has letters and digits, with single hyphens between")
    if _TOLD_BY_INGRESS.fullmatch(name):
        raise ValueError("the ingress itself says that")
    if _FROM_EVERYBODY.fullmatch(name):
        raise ValueError("every client may send that")
    return name


def _wrong(message: str) -> InitializationError:
    return InitializationError("InitializationError", "user", message)


def _storage(place: str) -> str:
    try:
        return _place.root(place)
    except ValueError as error:
        raise _wrong(f"FLYTERAY_STORAGE: {error}") from None


def _database(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    kind, there, _ = text.partition("://")
    if text and (not there or kind.partition("+")[0] not in ("sqlite", "postgresql", "postgres")):
        begins = f"begins with {kind!r}" if there else "has no '://'"  # not the whole: it may have a password
        raise _wrong(
            f"{name} is no address of a registry, it {begins}: set it to sqlite:////path/to/file or "
            "postgresql://user@host/database, or unset it."
        )
    return text or None


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def _host(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    try:
        return ip_address(text) if text else None
    except ValueError:
        raise _wrong(
            f"{name} is {text!r}: set it to an IP address of this machine (0.0.0.0: all of them), or unset it.",
        ) from None


def _url(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip().rstrip("/")
    if not text:
        return None
    try:
        parts = urlsplit(text.replace("{app}", "app"))
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        right = right and not (parts.query or parts.fragment or "@" in parts.netloc or re.search(r"\s", text))
    except ValueError:
        right = False
    if not right or "{" in text.replace("{app}", ""):
        raise _wrong(
            f"{name} is {text!r}: set it to the address that people have for apps, such as https://apps.example.com "
            "or https://{app}.example.com, or unset it.",
        )
    return text


def _tls(environ: Mapping[str, str]) -> Tls | None:
    certificate = environ.get("FLYTERAY_TLS_CERTIFICATE")
    if not certificate:
        for name in ("FLYTERAY_TLS_KEY", "FLYTERAY_TLS_CLIENTS", "FLYTERAY_TLS_PORT"):
            if environ.get(name, "").strip():
                raise _wrong(
                    f"{name} is set, but no certificate: set FLYTERAY_TLS_CERTIFICATE to its file as well, or unset it."
                )
        return None
    clients = environ.get("FLYTERAY_TLS_CLIENTS")
    return Tls(
        certificate=_absolute(certificate),
        key=_absolute(environ.get("FLYTERAY_TLS_KEY") or certificate),
        clients=_absolute(clients) if clients else None,
        port=_whole(environ, "FLYTERAY_TLS_PORT", 0, 65535) or 0,
    )


def _smtp(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if text and not right:  # not the whole: it may have a password
        raise _wrong(
            f"{name} is no address of a mail server: set it to smtp://host:port or smtps://user:password@host, or "
            "unset it."
        )
    return text or None


def _sender(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    if text and "@" not in text:
        raise _wrong(f"{name} is {text!r}: set it to an address to send mail from, or unset it.")
    return text or None


def _networks(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = []
    for text in _listed(environ, name):
        try:
            if "%" in text:
                raise ValueError("of one link only")
            found.append(str(ipaddress.ip_network(text)))
        except ValueError as error:
            raise _wrong(
                f"{name} names {text!r}, which is no IP address or network ({error}): list those of your proxies with "
                "commas between, such as 10.0.0.7,192.168.0.0/16,fd00::/8, or unset it.",
            ) from None
    return tuple(found)


def _headers(environ: Mapping[str, str], name: str, proxies: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for text in _listed(environ, name):
        try:
            found.append(trusted_header(text))
        except ValueError as error:
            raise _wrong(
                f"{name} names {text!r}, but {error}: list headers that your proxy sets, such as X-Forwarded-User, "
                "with commas between, or unset it.",
            ) from None
    if found and not proxies:
        raise _wrong(
            f"{name} is set, but FLYTERAY_TRUSTED_PROXIES names no proxy that may send these headers: set it as well.",
        )
    return tuple(found)


def _allowed_hosts(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = [text.lower() for text in _listed(environ, name)]
    for text in found:
        if text != "*" and not _ALLOWED_HOST.fullmatch(text):
            raise _wrong(
                f"{name} names {text!r}, which is no host: list names without a port and with commas between, such as "
                "apps.example.com,*.corp.example, or * for all, or unset it.",
            )
    return tuple(found)


def _listed(environ: Mapping[str, str], name: str) -> list[str]:
    return [text for part in environ.get(name, "").split(",") if (text := part.strip())]


def _word(environ: Mapping[str, str], name: str, *known: str) -> str:
    text = environ.get(name, "").strip().lower()
    if text not in ("", *known):
        raise _wrong(f"{name} is {text!r}: set it to {' or '.join(known)}, or unset it.")
    return text


def _whole(environ: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or not low <= int(text) <= high:
        raise _wrong(
            f"{name} is {text!r}: set it to a whole number from {low} to {high}, or unset it.",
        )
    return int(text)
