"""``flyteray up`` starts a cluster, and ``flyteray down`` ends the local one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import rich_click as click

from flyteray._client.session.session import session
from flyteray._cluster import local
from flyteray._settings import Settings, ip_address
from flyteray.cli import printing
from flyteray.cli.verbs.status import facts


def _address(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else ip_address(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no IP address. Use one of this machine's, or 0.0.0.0 for all of them."
        ) from None


_FILE = click.Path(exists=True, dir_okay=False)


@click.command(
    epilog=printing.examples(
        "flyteray up",
        "flyteray up --num-cpus 4 --port 8080",
        "flyteray up --host 0.0.0.0 --port 8080",
        "flyteray up --host 0.0.0.0 --tls-certificate chain.pem --tls-key key.pem --tls-port 8443",
        "RAY_ADDRESS=10.0.0.1:6379 flyteray up",
    )
)
@click.option("--num-cpus", type=click.IntRange(1), help="Cores that the local cluster offers. Default: all.")
@click.option("--port", type=click.IntRange(0, 65535), help="Where apps are reached. Default: a free port.")
@click.option(
    "--host",
    callback=_address,
    help="The address that apps listen on; 0.0.0.0 for all of the machine's. Default: this machine only.",
)
@click.option(
    "--auth/--no-auth",
    default=None,
    help="Whether apps that require auth ask for a key. Default: if they listen beyond this machine.",
)
@click.option("--tls-certificate", type=_FILE, help="A file in PEM: apps have https with this certificate.")
@click.option(
    "--tls-clients", type=_FILE, help="A file of authorities: clients must show a certificate of one."
)
@click.option("--tls-key", type=_FILE, help="The file with its key. Default: it is in the same one.")
@click.option(
    "--tls-port", type=click.IntRange(0, 65535), help="Where apps have https. Default: a free port."
)
@printing.output_option
def up(
    num_cpus: int | None,
    port: int | None,
    host: str | None,
    auth: bool | None,
    tls_certificate: str | None,
    tls_clients: str | None,
    tls_key: str | None,
    tls_port: int | None,
    output: printing.Output,
) -> None:
    """Start the local cluster, or flyteray on the cluster that RAY_ADDRESS names.

    Other commands and scripts start the local cluster by themselves; this is for choosing how. It runs until
    `flyteray down`. Where it runs already nothing changes.

    Behind a proxy of yours, FLYTERAY_TRUSTED_PROXIES names its addresses or networks (10.0.0.7,192.168.0.0/16): what
    it says of a request's client, scheme and host is taken over. FLYTERAY_TRUSTED_HEADERS names further headers that
    it sets (X-Forwarded-User); nobody else can send them.

    Apps that ask for no key answer to localhost, to this machine's name, to addresses, and to the hosts that
    FLYTERAY_ALLOWED_HOSTS names (apps.example.com,*.corp.example): pages of others can't reach them by a browser here.

    With a certificate who asks without TLS from another machine is sent to where it is. Put another one into its file
    and it is shown within seconds; nothing is cut. FLYTERAY_TLS_CERTIFICATE, FLYTERAY_TLS_KEY, FLYTERAY_TLS_CLIENTS and
    FLYTERAY_TLS_PORT say the same; on a cluster the files are on every machine that takes traffic.

    OTEL_EXPORTER_OTLP_ENDPOINT (http://collector:4318) has traces sent there of requests, runs and actions, as the
    other variables of OpenTelemetry say: all that this starts goes by those that are set here. It takes
    `pip install 'flyteray[otel]'`, on a cluster on all machines.
    """
    given: dict[str, Any] = {"num_cpus": num_cpus, "port": port, "host": host, "auth": auth}
    by_tls = {
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "tls_clients": tls_clients,
        "tls_port": tls_port,
    }
    chosen = {name: value for name, value in {**given, **by_tls}.items() if value is not None}
    settings = replace(_with_tls(by_tls), **{name: value for name, value in given.items() if name in chosen})
    named = settings.address not in (None, "local", "auto")
    if named and num_cpus is not None:
        raise click.UsageError(
            f"--num-cpus is for the local cluster, and RAY_ADDRESS names {settings.address!r}: its nodes say "
            "themselves what they offer."
        )
    if chosen and not named and local.find(settings):
        printing.note(
            f"The local cluster runs already, so {_changes_nothing(chosen)}. `flyteray down` ends it."
        )
    session().configure(settings)
    cluster = session().connect()
    there = {"host": cluster.ingress_host, "port": port and cluster.ingress_port, "auth": cluster.auth}
    if cluster.tls_port:
        there |= {**by_tls, "tls_port": tls_port and cluster.tls_port}
    ignored = {name: value for name, value in chosen.items() if value != there.get(name)}
    if named and ignored:
        printing.note(f"flyteray runs already on that cluster, so {_changes_nothing(ignored)}.")
    printing.record(facts(cluster, local.find(settings), settings), output)


@click.command(epilog=printing.examples("flyteray down"))
@printing.output_option
def down(output: printing.Output) -> None:
    """End the local cluster and all that runs on it.

    Runs in progress are lost. The history, the outputs and the apps' definitions stay in storage: after the next
    `flyteray up` the apps come back.
    """
    stopped = local.stop(Settings.load())
    sentence = "The local cluster has ended." if stopped else "No local cluster runs."
    printing.confirm({"stopped": stopped}, output, sentence)


def _with_tls(given: Mapping[str, Any]) -> Settings:
    """The settings, with what was given of TLS instead of what the environment says."""
    has_certificate = given["tls_certificate"] or os.environ.get("FLYTERAY_TLS_CERTIFICATE")
    for name, value in given.items():
        if value is not None and not has_certificate:
            raise click.UsageError(f"--{name.replace('_', '-')} is said together with --tls-certificate.")
    said = {f"FLYTERAY_{name.upper()}": str(value) for name, value in given.items() if value is not None}
    return Settings.of({**os.environ, **said})


def _changes_nothing(options: Mapping[str, Any]) -> str:
    named = " and ".join(
        f"--{'no-' if value is False else ''}{name.replace('_', '-')}" for name, value in options.items()
    )
    return f"{named} {'changes' if len(options) == 1 else 'change'} nothing"
