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
_RAYS_LABELS = "ray.io/"
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
class NodeType:
    """A type of node that may be added.

    Attributes:
        name: Its name, as the autoscaler has it.
        total: The resources of such a node; None where they are not known.
        labels: Its labels, without those that Ray gives each node; None where they are not known.
        most: How many of them there may be, or may be beside those that are there.
    """

    name: str
    total: Amounts | None
    labels: Mapping[str, str] | None = None
    most: float = math.inf


@dataclass(frozen=True)
class ClusterView:
    """A cluster at one moment.

    Attributes:
        nodes: The nodes that live.
        queued: What Ray is asked for and can't place at the moment, one entry a request.
        grows: Nodes may be added; where the types of these are not known, nothing is impossible.
        addable: The types of nodes that may be, with how many more of each.
        refused: What the autoscaler has said that it has no type of node for, one entry a request.
        lent: It is a machine that was not chosen for what is asked for, as a laptop: less will do.
    """

    nodes: Sequence[Node]
    queued: Sequence[Amounts] = ()
    grows: bool = False
    addable: Sequence[NodeType] = ()
    refused: Sequence[Amounts] = ()
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
    """Why no nodes, nor those that may be added, will ever take so many replicas of what an environment asks for.

    None where they can.
    """
    if cluster.grows and not cluster.addable:
        return None
    asked = demand(environment)
    room = sum(_room(node.total, asked) for node in cluster.nodes if _able(node, environment, asked))
    room += sum(kind.most * _room(kind.total, asked) for kind in _suitable(environment, cluster))
    if room >= replicas:
        return None
    there = f"the cluster has {_all_nodes(environment, cluster)}"
    if cluster.addable:
        kinds = (f"{kind.name} with {_node(environment, kind)}" for kind in cluster.addable)
        there += f", and may get nodes of type {_listed(kinds, '{1}', '{1}')}"
    if room:
        return f"it asks {replicas} times for {_asked(environment)}, but {there}: room for {room:g}"
    return f"it asks for {_asked(environment)} on one node, but {there}"


def waiting(environment: EnvironmentSpec, cluster: ClusterView) -> str | None:
    """What a task or replica waits for that Ray has not placed; None where nothing of its kind is queued."""
    asked = demand(environment)
    if not any(_same(asked, request) for request in cluster.queued):
        return None
    able = [node for node in cluster.nodes if _able(node, environment, asked)]
    kinds = " or ".join(kind.name for kind in _suitable(environment, cluster))
    if not able:
        there = f"{_asked(environment)}; the cluster has {_all_nodes(environment, cluster)}"
        if any(_same(asked, request) for request in cluster.refused):
            return f"waits for a node of a type that the autoscaler does not have: {there}"
        later = f"a node of type {kinds}" if kinds else "a new node" if cluster.grows else "such a node"
        return f"waits for {later}: {there}"
    counted = [name for name in asked if not name.startswith(_ACCELERATOR)]
    scarce = [name for name in counted if not any(_enough(node.free, name, asked[name]) for node in able)]
    shown = scarce or counted
    wanted = " and ".join(_amount(name, asked[name]) for name in shown)
    free = (" and ".join(_free(node, name, len(shown) > 1) for name in shown) for node in able)
    new = f", or a new node of type {kinds}" if kinds and scarce else ""
    return f"waits for {wanted} on one node{new}; free: {_listed(free, '{1}', '{1} (on {0} nodes)')}"


def _suitable(environment: EnvironmentSpec, cluster: ClusterView) -> list[NodeType]:
    """The types of nodes that may be added and could take what an environment asks for."""
    asked = demand(environment)
    return [kind for kind in cluster.addable if kind.most >= 1 and _may_take(kind, environment, asked)]


def _may_take(kind: NodeType, environment: EnvironmentSpec, asked: Amounts) -> bool:
    for key, wanted in environment.labels.items():
        said = None if kind.labels is None else kind.labels.get(key)
        # What a configuration does not tell, Ray may find on the node itself.
        is_found = kind.labels is None or (said is None and key.startswith(_RAYS_LABELS))
        if not is_found and not _matches(said, wanted):
            return False
    if kind.total is None:
        return True
    tells = any(name.startswith(_ACCELERATOR) for name in kind.total)
    return _covers(
        kind.total, {name: asked[name] for name in asked if tells or not name.startswith(_ACCELERATOR)}
    )


def _able(node: Node, environment: EnvironmentSpec, asked: Amounts) -> bool:
    labelled = all(_matches(node.labels.get(key), wanted) for key, wanted in environment.labels.items())
    return labelled and _covers(node.total, asked)


def _room(total: Amounts | None, asked: Amounts) -> float:
    """How often a node with these resources could take it if nothing else ran there."""
    if total is None:
        return math.inf
    counted = [name for name in asked if not name.startswith(_ACCELERATOR)]
    return min((_times(total[name], asked[name]) for name in counted), default=math.inf)


def _times(total: float, amount: float) -> float:
    return total if math.isinf(total) else (total + _FINEST / 2) // amount


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


def _node(environment: EnvironmentSpec, node: Node | NodeType) -> str:
    """What of a node, or of a type of nodes, matters to an environment."""
    total, known = node.total or {}, node.labels or {}
    names = [name for name in demand(environment) if not name.startswith(_ACCELERATOR)]
    parts = [_amount(name, total.get(name, 0.0)) for name in names]
    if environment.accelerator_type is not None:
        named = [name for name in sorted(total) if name.startswith(_ACCELERATOR)]
        kinds = ", ".join(name.removeprefix(_ACCELERATOR) for name in named)
        parts.append(f"accelerator {kinds}" if kinds else "no accelerator of a known kind")
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
