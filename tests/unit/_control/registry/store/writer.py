"""A process that has the lease on a registry, ``URL CLUSTER LEASE_S``, records a run for each line that it reads."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from flyteray._control.registry.registry import Registry
from flyteray._control.registry.store.lease import Holder
from tests.unit.builders import NOON, run_spec


def end(why: str) -> NoReturn:
    print(why, flush=True)
    os._exit(3)


def main(url: str, cluster: str, lease_s: str) -> None:
    registry = Registry(url)
    registry.take(Holder(cluster, f"the cluster {cluster}"), end, float(lease_s))
    print("taken", flush=True)
    for line in sys.stdin:
        registry.runs.create(run_spec(line.strip()), NOON)
        print("written", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
