"""Flyteray's actors on a connected cluster: ingress, keeper and controller are started where they don't run yet."""

from __future__ import annotations

import contextlib
import ipaddress
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flyteray._actors import calls
from flyteray._actors.controller import CONTROLLER, controller
from flyteray._actors.keeper import keeper_name
from flyteray._actors.questions import ask
from flyteray._cluster import nodes
from flyteray._cluster.local import LocalCluster
from flyteray._control.starter import start_at_head, start_on_local
from flyteray._ingress.door import ingress_at, ingress_name
from flyteray._ingress.routes import LOOPBACK
from flyteray._plan.info import ClusterInfo
from flyteray._settings import Settings, Tls
from flyteray._traces.asked import Variables, are_asked, sampling
from flyteray._traces.export import Sending
from flyteray._traces.process import as_variables
from flyteray.errors import InitializationError

# By name: with Ray Serve they take a second to import, and clients that find them running do without.
_INGRESS = "flyteray._ingress.actor:IngressActor"
_KEEPER = "flyteray._tasks.keeper:Keeper"
_CONTROLLER = "flyteray._control.controller:Controller"
_HEAD = {nodes.HEAD: 0.001}  # the registry's file and the ingress' port are on the head node


@dataclass(frozen=True)
class IngressOptions:
    """What the ingresses of a cluster have in common.

    Attributes:
        head: The address of the machine with the head.
        home: The home of who started the cluster's actors: the head's ingress has its files there.
        temp_dir: The folder in which the ingress of another machine has its files.
        host: The address to listen on; another machine listens on its own address instead of one of the head's.
        port: The port; 0 for a free one.
        trusted_proxies: As in :class:`~flyteray._settings.Settings`.
        trusted_headers: As there.
        allowed_hosts: The hosts that were named for it to answer to.
        half_closed: As in the settings.
        access_log: As there.
        tls: As there.
        traces: The variables by which they send spans of requests; none where they send none.
        everywhere: Whether every machine takes traffic from outside; otherwise the head does.
    """

    head: str
    home: Path
    temp_dir: Path
    host: str
    port: int = 0
    trusted_proxies: tuple[str, ...] = ()
    trusted_headers: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    half_closed: bool = False
    everywhere: bool = True
    access_log: bool = False
    tls: Tls | None = None
    traces: Variables = field(default=(), repr=False)

    def listens(self, address: str) -> str:
        """The address that the ingress on the machine of this address listens on."""
        if address == self.head:
            return self.host
        if not self.takes_traffic(address):
            return LOOPBACK
        host = ipaddress.ip_address(self.host)
        return self.host if host.is_loopback or host.is_unspecified else address

    def takes_traffic(self, address: str) -> bool:
        """Whether clients outside find the ingress on the machine of this address."""
        return self.everywhere or address == self.head

    def reached_here(self, address: str) -> str:
        """The address at which code on the machine of this address finds its ingress."""
        listens = self.listens(address)
        return LOOPBACK if ipaddress.ip_address(listens).is_unspecified else listens


def ensure_controller(settings: Settings, cluster: LocalCluster | None) -> ClusterInfo:
    """The addresses of the connected cluster, where its actors run from now on; ``cluster`` where it is flyteray's own.

    Two clients that come at the same time start them once; ClusterError where they can't be started.
    """
    if not run_already():
        if settings.exposure:
            print(f"Warning: {settings.exposure}", file=sys.stderr)
        if cluster is None:
            start_at_head(settings)
        else:
            start_on_local(cluster, settings)
    return ask(controller().info(nodes.own_address()))


def start_actors(settings: Settings) -> None:
    """Start those of ingress, keeper and controller that the connected cluster lacks."""
    head, traces = nodes.head_address(), asked_traces(settings)
    options = IngressOptions(
        head=head,
        home=settings.home,
        temp_dir=settings.temp_dir,
        host=settings.host,
        port=settings.port or 0,
        trusted_proxies=settings.trusted_proxies,
        trusted_headers=settings.trusted_headers,
        allowed_hosts=settings.answered_hosts,
        half_closed=settings.half_closed,
        everywhere=settings.ingress_nodes == "all",
        access_log=settings.access_log,
        tls=settings.tls,
        traces=traces,
    )
    start_ingress(options, head, None)
    door = ingress_at(head)
    port, tls_port = ask(door.port()), ask(door.tls_port())
    cluster = ClusterInfo(
        storage=settings.storage,
        ingress_host=settings.host,
        ingress_port=port,
        tls_port=tls_port,
        endpoint_pattern=_public_pattern(settings.url)
        or endpoint_pattern(ask(door.found_at()), port, tls_port),
        auth=settings.asks_for_keys,
        public=settings.url is not None,
        traces=traces,
    )
    _detached(_KEEPER, keeper_name(), None, traces)
    database, key = settings.database_url, str(settings.secrets_key_path)
    chosen = replace(options, port=port, tls=options.tls and replace(options.tls, port=tls_port))
    _detached(_CONTROLLER, CONTROLLER, cluster, database, key, chosen)


def start_ingress(options: IngressOptions, address: str, node: str | None) -> None:
    """Start the ingress of a machine unless it runs; ``node`` is a Ray node there, None for the head."""
    is_head = address == options.head
    folder = options.home / "ingress" if is_head else options.temp_dir / f"ingress-{address}"
    found = options.takes_traffic(address)
    port = options.port if found else 0
    trusted = (options.trusted_proxies, options.trusted_headers)
    also = (
        options.allowed_hosts,
        options.access_log,
        options.half_closed,
        options.tls if found else None,
        options.traces,
        True,  # it is told a state before clients are answered
    )
    arguments = str(folder), options.listens(address), port, *trusted, None, address, *also
    _detached(_INGRESS, ingress_name(address), *arguments, node=None if is_head else node)


def end_ingress(address: str) -> None:
    """End the ingress of a machine: Ray counts a node where it runs as busy."""
    actor = calls.find(ingress_name(address))
    ask(ingress_at(address).stop())
    ray.kill(actor, no_restart=True)


def follow_head(cluster: ClusterInfo, options: IngressOptions) -> tuple[ClusterInfo, IngressOptions]:
    """Both as they are now, asked on the head: Ray may have brought that back on a machine of another address.

    The ingress that was the head's ends there, as the address that others know it by is none of this machine's.
    """
    head = nodes.addresses().get(ray.get_runtime_context().get_node_id(), options.head)
    if head == options.head:
        return cluster, options
    with contextlib.suppress(InitializationError):
        ray.kill(calls.find(ingress_name(options.head)), no_restart=True)
    ports = cluster.ingress_port, cluster.tls_port
    if not cluster.public and cluster.endpoint_pattern == endpoint_pattern(options.head, *ports):
        pattern = endpoint_pattern(head, *ports)
        cluster = cluster.model_copy(update={"endpoint_pattern": pattern})
    return cluster, replace(options, head=head)


def refuse_impossible(settings: Settings) -> None:
    """Settings that :func:`start_actors` would refuse anywhere are refused, before a cluster is started for nothing.

    InitializationError says what is wrong with the variables of OpenTelemetry, or with the files of a certificate.
    """
    asked_traces(settings)
    if settings.tls is not None:
        from flyteray._ingress.tls.offered import Offered  # deferred: cryptography takes long to import

        Offered.made_sure(settings.tls)


def asked_traces(settings: Settings) -> Variables:
    """The variables by which a cluster's processes send traces; none where they send none.

    InitializationError where they can't be, or nothing that sends spans is installed: that is to be told now, not by
    each process of the cluster.
    """
    if not are_asked(settings.traces):
        return ()
    sampling(settings.traces)  # which the ingresses go by
    with as_variables(settings.traces):
        Sending("flyteray").provider.shutdown()
    return settings.traces


def _public_pattern(url: str | None) -> str | None:
    if url is None or "{app}" in url:
        return url and url.replace("{app}", "{app_fqdn}")
    return f"{url}/{{app_fqdn}}"


def endpoint_pattern(host: str, port: int, tls_port: int = 0) -> str:
    """The addresses of apps below an ingress, with ``{app_fqdn}`` for the app's name; by TLS where it has a port."""
    at = f"[{host}]" if ":" in host else host
    if tls_port:
        return f"https://{at}{'' if tls_port == 443 else f':{tls_port}'}/{{app_fqdn}}"
    return f"http://{at}:{port}/{{app_fqdn}}"


def run_already() -> bool:
    """Whether the connected cluster has a controller, which is the last of them."""
    try:
        calls.find(CONTROLLER)
    except InitializationError:
        return False
    return True


def _detached(kind: str, name: str, *arguments: Any, node: str | None = None) -> None:
    """Start an actor of that name unless there is one: on the head, or on ``node``."""
    place: dict[str, Any] = {"resources": _HEAD}
    if node is not None:
        place = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
    options: dict[str, Any] = {
        "name": name,
        "namespace": calls.NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        **place,
        "max_restarts": -1,
        "max_task_retries": 0,
    }
    named = type(kind.rpartition(":")[2], (calls.ActorHost,), {})  # what Ray and `ps` show
    ray.remote(named).options(**options).remote(kind, *arguments)
