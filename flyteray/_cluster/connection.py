"""A connection of this process to a cluster: the one that is named, or the local one in the background."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._private import ray_constants, services, worker
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # missing in its stub

from flyteray._actors.calls import NAMESPACE
from flyteray._cluster import local
from flyteray._cluster.local import LocalCluster
from flyteray._cluster.probe import probe, submit_there
from flyteray._settings import Settings
from flyteray.errors import ClusterError


@dataclass(frozen=True)
class Connection:
    """The cluster that this process is connected to; ``local`` where it is flyteray's own on this machine.

    ``started`` tells that it was started for this connection, ``own`` that flyteray made the connection: in a worker it
    is Ray's, and after the user's own ``ray.init`` theirs. ``driver`` tells a program from a process of the cluster.
    """

    address: str
    local: LocalCluster | None
    started: bool = False
    own: bool = False
    driver: bool = True

    def is_of(self, address: str) -> bool:
        """Whether this is the cluster that an address names, as the user wrote it."""
        if address in ("auto", "local"):
            return address == "auto" or self.local is not None
        return self.address == address or self.address == _resolve(address)  # the latter may raise


def connect(
    settings: Settings, quiet: bool = False, before_start: Callable[[Settings], None] | None = None
) -> Connection:
    """Connect unless that is done; in about a second where the cluster runs.

    The cluster is ``settings.address`` if given (``"local"`` names the local one as well), else the local one, which is
    started when it does not run; ``before_start`` is called with its settings then, and may refuse. In a worker, or
    after the user's own ``ray.init``, the connection there is stays. Where it can't be reached or started, a
    ClusterError tells within seconds what to check.
    """
    found = running = local.find(settings)
    if ray.is_initialized():
        address = ray.get_runtime_context().gcs_address
        driver = worker.global_worker.mode == worker.SCRIPT_MODE
        return Connection(address, running if running and running.address == address else None, driver=driver)
    wanted = settings.address
    if wanted is None or wanted == "local" or (wanted == "auto" and running):
        if running is None and before_start is not None:
            before_start(settings)
        running = running or local.start(settings, quiet)
        wanted = running.address
    if running and running.address == wanted:
        _use_environment_of(running)
        probe(wanted, running.token_path.read_text().strip())
    else:
        wanted = _resolve(wanted)
        probe(wanted, _token(), named=settings.address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on Ray's own options, which the user did not choose
        # Ray prints what its processes complain of to the driver's stdout, among what the user's program prints.
        worker.listen_error_messages = lambda *_: None
        try:
            ray.init(wanted, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterError(
                f"The Ray cluster at {wanted} answers, but connecting failed: {error}"
            ) from error
    ours = running if running and running.address == wanted else None
    return Connection(wanted, ours, started=running is not found, own=True)


def is_connected() -> bool:
    """Whether this process is connected to a cluster, by flyteray or not."""
    return bool(ray.is_initialized())


def disconnect(settings: Settings) -> None:
    """Leave the local cluster and end it."""
    ray.shutdown()
    local.stop(settings)


def _use_environment_of(cluster: LocalCluster) -> None:
    os.environ.pop("RAY_AUTH_TOKEN", None)  # would win over the path
    os.environ.update({name: value for name, value in cluster.environment().items() if name != "RAY_ADDRESS"})
    # Ray has read these three when it was imported, and keeps them.
    ray_constants.ENABLE_RAY_CLUSTER = False
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _refuse_other_doors(address: str) -> None:
    """Raise ClusterError for what is no cluster's own address, but leads to one."""
    if address.startswith("ray://"):
        raise ClusterError(
            f"{address!r} is the address of a Ray Client server, which flyteray does not speak. Give the cluster's own "
            "address (host:6379 on a machine of the cluster), or start the script with `ray job submit`."
        )
    if address.startswith(("http://", "https://")):
        raise ClusterError(f"{address!r} is the address of a dashboard. {submit_there(address)}")


def _resolve(address: str) -> str:
    """``host:port`` as Ray will use it, so that the probe asks the same one."""
    _refuse_other_doors(address)
    try:
        resolved = services.canonicalize_bootstrap_address_or_die(address)
    except (ConnectionError, ValueError) as error:
        raise ClusterError(
            f"There is no Ray cluster at {address!r}: {str(error).rstrip('.')}. Check RAY_ADDRESS or "
            "init(address=...): a cluster's own address is host:port, such as 10.0.0.1:6379."
        ) from error
    return str(resolved)


def _token() -> str | None:
    """The token that Ray will send, by Ray's own order of precedence."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    return path.read_text().strip() if path.exists() else None
