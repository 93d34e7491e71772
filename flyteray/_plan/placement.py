"""A cluster can place what an environment asks for, ever or now, or not. No effects here."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flyteray._plan.spec import EnvironmentSpec

_ACCELERATOR = "accelerator_type:"
_ONE_OF = re.compile(r"in\((.*)\)")
_SHOWN = 4  # nodes in a message
_FINEST = 1e-4  # as Ray counts
_COUNTED = {"CPU": "CPU", "GPU": "GPU", "HPU": "HPU", "TPU": "TPU chip", "neuron_cores": "Neuron core"}

Amounts = Mapping[str, float]  # resources by Ray's names


@dataclass(frozen=True)
class Node:
    """A node that lives: its resources, those of them that are free, and its labels."""

    total: Amounts
    free: Amounts = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterView:
    """A cluster at one moment.

    Attributes:
        nodes: The nodes that live.
        queued: What Ray is asked for and can't place at the moment, one entry a request.
        grows: Nodes may be added, so nothing is impossible.
        addable: The kinds of nodes that may be, where they are known.
        lent: It is a machine that was not chosen for what is asked for, as a laptop: less will do.
    """

    nodes: Sequence[Node]
    queued: Sequence[Amounts] = ()
    grows: bool = False
    addable: Sequence[Amounts] = ()
    lent: bool = False


def demand(environment: EnvironmentSpec) -> dict[str, float]:
    """What one task or replica takes."""
    asked = {
        "CPU": environment.num_cpus,
        "GPU": environment.num_gpus,
        "memory": float(environment.memory or 0),
        **environment.resources,
    }
    if environment.accelerator_type is not None:
        asked[_ACCELERATOR + environment.accelerator_type] = 0.001  # as Ray has it
    return {name: amount for name, amount in asked.items() if amount > 0}


def fitted(environment: EnvironmentSpec, cluster: ClusterView, replicas: int = 1) -> EnvironmentSpec:
    """What an environment gets of what it asks for: of a lent machine no more CPUs and memory than that has.

    ``replicas`` of it are there at one time.
    """
    if not cluster.lent or len(cluster.nodes) != 1:
        return environment
    total = cluster.nodes[0].total
    cpus = math.floor(total.get("CPU", 0.0) / replicas / _FINEST) * _FINEST
    memory = int(total.get("memory", 0.0) / replicas)
    changes: dict[str, float] = {}
    if environment.num_cpus > cpus:
        changes["num_cpus"] = round(cpus, 4)
    if environment.memory is not None and environment.memory > memory:
        changes["memory"] = memory
    return environment.model_copy(update=changes) if changes else environment


def less(environment: EnvironmentSpec, cluster: ClusterView, replicas: int = 1) -> str | None:
    """What an environment asks for and does not get all of, in words; None where it does."""
    gets = fitted(environment, cluster, replicas)
    asked, given = demand(environment), demand(gets)
    short = [name for name in asked if given[name] < asked[name]]
    if not short:
        return None
    amounts = [" and ".join(_amount(name, each[name]) for name in short) for each in (asked, given)]
    times = f" {replicas} times" if replicas > 1 else ""
    return f"asks{times} for {amounts[0]}, and gets {amounts[1]} of this machine"


def impossible(environment: EnvironmentSpec, cluster: ClusterView, replicas: int = 1) -> str | None:
    """Why the nodes will never take so many replicas of what an environment asks for; None where they can."""
    asked = demand(environment)
    room = sum(_room(node, asked) for node in cluster.nodes if _able(node, environment, asked))
    if room >= replicas:
        return None
    if cluster.grows:
        visible = {name: amount for name, amount in asked.items() if ":" not in name}
        if not cluster.addable or any(_covers(kind, visible) for kind in cluster.addable):
            return None
    there = f"the cluster has {_all_nodes(environment, cluster)}"
    if room:
        return f"it asks {replicas} times for {_asked(environment)}, but {there}: room for {room:g}"
    return f"it asks for {_asked(environment)} on one node, but {there}"


def waiting(environment: EnvironmentSpec, cluster: ClusterView) -> str | None:
    """What a task or replica waits for that Ray has not placed; None where nothing of its kind is queued."""
    asked = demand(environment)
    if not any(_same(asked, request) for request in cluster.queued):
        return None
    able = [node for node in cluster.nodes if _able(node, environment, asked)]
    if not able:
        later = "a new node" if cluster.grows else "such a node"
        return f"waits for {later}: {_asked(environment)}; the cluster has {_all_nodes(environment, cluster)}"
    counted = [name for name in asked if not name.startswith(_ACCELERATOR)]
    scarce = [name for name in counted if not any(_enough(node.free, name, asked[name]) for node in able)]
    shown = scarce or counted
    wanted = " and ".join(_amount(name, asked[name]) for name in shown)
    free = (" and ".join(_free(node, name, len(shown) > 1) for name in shown) for node in able)
    return f"waits for {wanted} on one node; free: {_listed(free, '{1}', '{1} (on {0} nodes)')}"


def _able(node: Node, environment: EnvironmentSpec, asked: Amounts) -> bool:
    labelled = all(_matches(node.labels.get(key), wanted) for key, wanted in environment.labels.items())
    return labelled and _covers(node.total, asked)


def _room(node: Node, asked: Amounts) -> float:
    """How often a node could take it if nothing else ran there."""
    counted = [name for name in asked if not name.startswith(_ACCELERATOR)]
    return min(((node.total[name] + _FINEST / 2) // asked[name] for name in counted), default=math.inf)


def _matches(label: str | None, wanted: str) -> bool:
    one_of = _ONE_OF.fullmatch(wanted)
    return label in one_of[1].split(",") if one_of else label == wanted


def _covers(there: Amounts, asked: Amounts) -> bool:
    return all(_enough(there, name, amount) for name, amount in asked.items())


def _enough(there: Amounts, name: str, amount: float) -> bool:
    return there.get(name, 0.0) + _FINEST / 2 >= amount


def _same(asked: Amounts, request: Amounts) -> bool:
    return asked.keys() == request.keys() and all(
        abs(asked[name] - request[name]) < _FINEST for name in asked
    )


def _asked(environment: EnvironmentSpec) -> str:
    parts = [_amount(name, amount) for name, amount in demand(environment).items()]
    parts += [f"label {key}={value}" for key, value in environment.labels.items()]
    return " and ".join(parts) or "nothing"


def _all_nodes(environment: EnvironmentSpec, cluster: ClusterView) -> str:
    nodes = (_node(environment, node) for node in cluster.nodes)
    return _listed(nodes, "a node with {1}", "{0} nodes with {1}") or "no nodes"


def _node(environment: EnvironmentSpec, node: Node) -> str:
    """What of a node matters to an environment."""
    names = [name for name in demand(environment) if not name.startswith(_ACCELERATOR)]
    parts = [_amount(name, node.total.get(name, 0.0)) for name in names]
    if environment.accelerator_type is not None:
        named = [name for name in sorted(node.total) if name.startswith(_ACCELERATOR)]
        kinds = ", ".join(name.removeprefix(_ACCELERATOR) for name in named)
        parts.append(f"accelerator {kinds}" if kinds else "no accelerator of a known kind")
    known = node.labels
    parts += [
        f"label {key}={known[key]}" if key in known else f"no label {key}" for key in environment.labels
    ]
    return " and ".join(parts)


def _listed(items: Iterable[str], one: str, many: str) -> str:
    """Equal items once, with their number; the first few of them."""
    counted = Counter(items)
    shown = [(one if count == 1 else many).format(count, item) for item, count in counted.most_common(_SHOWN)]
    return "; ".join([*shown, "…"] if len(counted) > _SHOWN else shown)


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{_gib(amount)} GiB of memory"
    if name.startswith(_ACCELERATOR):
        return f"accelerator {name.removeprefix(_ACCELERATOR)}"
    plural = "s" if name in _COUNTED and amount != 1 else ""
    return f"{_number(amount) if amount else 'no'} {_COUNTED.get(name, name)}{plural}"


def _free(node: Node, name: str, named: bool) -> str:
    free, total = node.free.get(name, 0.0), node.total[name]
    if name == "memory":
        return f"{_gib(free)} of {_gib(total)} GiB" + " of memory" * named
    return f"{_number(free)} of {_amount(name, total) if named else _number(total)}"


def _number(amount: float) -> str:
    return f"{round(amount, 4):g}"


def _gib(amount: float) -> str:
    gib = amount / 2**30
    return f"{gib:.3g}" if gib < 1000 else f"{gib:.0f}"
