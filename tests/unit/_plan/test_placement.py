from __future__ import annotations

import math
from dataclasses import replace

import pytest

from flyteray._plan.placement import ClusterView, Node, NodeType, demand, fitted, impossible, less, waiting
from flyteray._plan.spec import EnvironmentSpec

LAPTOP = Node({"CPU": 2.0, "memory": 8.0 * 2**30}, {"CPU": 0.5, "memory": 8.0 * 2**30})
T4 = Node(
    {"CPU": 8.0, "GPU": 1.0, "accelerator_type:T4": 1.0},
    {"CPU": 8.0, "GPU": 0.25, "accelerator_type:T4": 0.9},
)
TPU = Node({"CPU": 4.0, "TPU": 4.0}, {"CPU": 4.0, "TPU": 4.0}, {"ray.io/tpu-topology": "4x4"})
SMALL = EnvironmentSpec(num_cpus=1)


@pytest.mark.parametrize(
    "asked",
    [
        EnvironmentSpec(num_cpus=0),
        EnvironmentSpec(num_cpus=8, num_gpus=1, accelerator_type="T4"),
        EnvironmentSpec(num_gpus=0.3333),
        EnvironmentSpec(resources={"TPU": 4}, labels={"ray.io/tpu-topology": "4x4"}),
        EnvironmentSpec(labels={"ray.io/tpu-topology": "in(2x2,4x4)"}),
    ],
)
def test_what_fits_on_a_node_however_busy_is_possible(asked: EnvironmentSpec) -> None:
    assert impossible(asked, ClusterView([LAPTOP, T4, TPU])) is None


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (
            EnvironmentSpec(num_cpus=5),
            "it asks for 5 CPUs on one node, but the cluster has 2 nodes with 2 CPUs; a node with 4 CPUs",
        ),
        (
            EnvironmentSpec(num_cpus=0, num_gpus=1),
            "it asks for 1 GPU on one node, but the cluster has 3 nodes with no GPUs",
        ),
        (
            EnvironmentSpec(num_cpus=1, memory=16 * 2**30),
            "it asks for 1 CPU and 16 GiB of memory on one node, but the cluster has "
            "2 nodes with 2 CPUs and 8 GiB of memory; a node with 4 CPUs and 0 GiB of memory",
        ),
        (
            EnvironmentSpec(num_cpus=0, resources={"TPU": 4}, labels={"ray.io/tpu-topology": "2x2"}),
            "it asks for 4 TPU chips and label ray.io/tpu-topology=2x2 on one node, but the cluster has 2 nodes "
            "with no TPU chips and no label ray.io/tpu-topology; "
            "a node with 4 TPU chips and label ray.io/tpu-topology=4x4",
        ),
    ],
)
def test_what_fits_on_no_node_is_told_with_what_there_is(asked: EnvironmentSpec, why: str) -> None:
    assert impossible(asked, ClusterView([LAPTOP, LAPTOP, TPU])) == why


def test_the_kind_of_accelerator_counts() -> None:
    asked = EnvironmentSpec(num_cpus=0, num_gpus=1, accelerator_type="H100")

    assert impossible(asked, ClusterView([T4])) == (
        "it asks for 1 GPU and accelerator H100 on one node, but the cluster has a node with 1 GPU and accelerator T4"
    )
    assert "no accelerator of a known kind" in (impossible(asked, ClusterView([LAPTOP])) or "")


def test_many_kinds_of_nodes_are_not_all_listed() -> None:
    nodes = [Node({"CPU": float(number)}) for number in range(1, 8)]

    assert (impossible(EnvironmentSpec(num_cpus=9), ClusterView(nodes)) or "").endswith("4 CPUs; …")
    assert impossible(SMALL, ClusterView([])) == "it asks for 1 CPU on one node, but the cluster has no nodes"


H100 = EnvironmentSpec(num_cpus=0, num_gpus=2, accelerator_type="H100")


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (H100, NodeType("big", {"GPU": 8.0})),  # what accelerator a node has it may find out itself
        (H100, NodeType("big", {"GPU": math.inf, "accelerator_type:H100": 1.0})),
        (H100, NodeType("unknown", None)),
        (EnvironmentSpec(labels={"disk": "fast"}), NodeType("fast", {"CPU": 4.0}, {"disk": "fast"})),
        (EnvironmentSpec(labels={"disk": "fast"}), NodeType("unknown", {"CPU": 4.0}, None)),
        (EnvironmentSpec(labels={"ray.io/region": "eu"}), NodeType("found", {"CPU": 4.0}, {})),
    ],
)
def test_what_a_type_of_node_could_have_is_possible_where_the_cluster_grows(
    asked: EnvironmentSpec, kind: NodeType
) -> None:
    assert impossible(asked, ClusterView([LAPTOP])) is not None
    assert impossible(asked, ClusterView([LAPTOP], grows=True)) is None  # the types are not known
    assert impossible(asked, ClusterView([LAPTOP], grows=True, addable=[kind])) is None


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (H100, NodeType("small", {"GPU": 1.0})),
        (H100, NodeType("other", {"GPU": 8.0, "accelerator_type:T4": 1.0})),
        (H100, NodeType("spent", {"GPU": 8.0}, most=0)),
        (EnvironmentSpec(labels={"disk": "fast"}), NodeType("slow", {"CPU": 4.0}, {"disk": "slow"})),
        (EnvironmentSpec(labels={"disk": "fast"}), NodeType("plain", {"CPU": 4.0}, {})),
    ],
)
def test_what_no_type_of_node_could_have_is_impossible(asked: EnvironmentSpec, kind: NodeType) -> None:
    why = impossible(asked, ClusterView([LAPTOP], grows=True, addable=[kind]))

    assert why is not None
    assert f"and may get nodes of type {kind.name} with " in why


def test_all_replicas_must_fit_on_the_nodes_that_there_are_and_may_be() -> None:
    asked = EnvironmentSpec(num_cpus=0, num_gpus=0.5, accelerator_type="T4")
    cluster = ClusterView(
        [LAPTOP, T4], grows=True, addable=[NodeType("gpu", {"CPU": 8.0, "GPU": 1.0}, most=2)]
    )

    assert impossible(asked, cluster, replicas=6) is None
    assert (impossible(asked, cluster, replicas=7) or "").endswith(
        "and may get nodes of type gpu with 1 GPU and no accelerator of a known kind: room for 6"
    )


def test_all_replicas_of_an_app_must_fit() -> None:
    asked = EnvironmentSpec(num_cpus=0.5)

    assert impossible(asked, ClusterView([LAPTOP, LAPTOP]), replicas=8) is None
    assert impossible(asked, ClusterView([LAPTOP, LAPTOP]), replicas=9) == (
        "it asks 9 times for 0.5 CPUs, but the cluster has 2 nodes with 2 CPUs: room for 8"
    )
    assert impossible(EnvironmentSpec(num_cpus=0), ClusterView([LAPTOP]), replicas=1000) is None
    sevenths = EnvironmentSpec(num_cpus=0, num_gpus=0.1428, accelerator_type="T4")
    assert impossible(sevenths, ClusterView([T4]), replicas=7) is None
    assert impossible(sevenths, ClusterView([T4]), replicas=8) is not None


def test_what_waits_says_what_for_and_what_is_free() -> None:
    asked = EnvironmentSpec(num_cpus=2)
    queued = [demand(EnvironmentSpec(num_gpus=1)), demand(asked)]

    assert waiting(asked, ClusterView([LAPTOP], queued)) == "waits for 2 CPUs on one node; free: 0.5 of 2"
    assert waiting(asked, ClusterView([LAPTOP, LAPTOP, T4], queued)) == (
        "waits for 2 CPUs on one node; free: 0.5 of 2 (on 2 nodes); 8 of 8"
    )


def test_only_what_is_scarce_is_waited_for() -> None:
    asked = EnvironmentSpec(num_cpus=2, num_gpus=0.5, accelerator_type="T4")

    assert (
        waiting(asked, ClusterView([T4], [demand(asked)]))
        == "waits for 0.5 GPUs on one node; free: 0.25 of 1"
    )
    one_each = [
        Node({"CPU": 2.0, "memory": 2.0**31}, {"CPU": 2.0, "memory": 2.0**29}),
        Node({"CPU": 2.0, "memory": 2.0**31}, {"memory": 2.0**31}),
    ]
    both = EnvironmentSpec(num_cpus=1, memory=2**30)
    assert waiting(both, ClusterView(one_each, [demand(both)])) == (
        "waits for 1 CPU and 1 GiB of memory on one node; free: 2 of 2 CPUs and 0.5 of 2 GiB of memory; "
        "0 of 2 CPUs and 2 of 2 GiB of memory"
    )


def test_what_ray_has_placed_or_starts_waits_for_nothing() -> None:
    assert waiting(EnvironmentSpec(num_cpus=2), ClusterView([LAPTOP])) is None


def test_what_waits_for_a_node_that_is_not_there_says_so() -> None:
    asked = EnvironmentSpec(num_cpus=0, num_gpus=1)

    assert waiting(asked, ClusterView([LAPTOP], [demand(asked)], grows=True)) == (
        "waits for a new node: 1 GPU; the cluster has a node with no GPUs"
    )
    assert "such a node" in (waiting(asked, ClusterView([LAPTOP], [demand(asked)])) or "")
    refused = ClusterView([LAPTOP], [demand(asked)], grows=True, refused=[demand(asked)])
    assert "waits for a node of a type that the autoscaler does not have: 1 GPU" in (
        waiting(asked, refused) or ""
    )


def test_what_waits_for_a_node_names_the_types_that_it_could_be_of() -> None:
    asked = EnvironmentSpec(num_cpus=0, num_gpus=1)
    kinds = [NodeType("cpu", {"CPU": 64.0}), NodeType("gpu", {"GPU": 1.0}), NodeType("gpus", {"GPU": 8.0})]
    cluster = ClusterView([LAPTOP], [demand(asked)], grows=True, addable=kinds)

    assert waiting(asked, cluster) == (
        "waits for a node of type gpu or gpus: 1 GPU; the cluster has a node with no GPUs"
    )
    assert waiting(asked, replace(cluster, nodes=[T4], addable=kinds[:2])) == (
        "waits for 1 GPU on one node, or a new node of type gpu; free: 0.25 of 1"
    )
    all_there = [replace(kind, most=0) for kind in kinds]
    assert waiting(asked, replace(cluster, nodes=[T4], addable=all_there)) == (
        "waits for 1 GPU on one node; free: 0.25 of 1"
    )


LENT = ClusterView([LAPTOP], lent=True)


@pytest.mark.parametrize(
    ("asked", "replicas", "cpus", "gib", "words"),
    [
        (EnvironmentSpec(num_cpus=4), 1, 2, None, "asks for 4 CPUs, and gets 2 CPUs of this machine"),
        (EnvironmentSpec(num_cpus=2, memory=8 << 30), 1, 2, 8, None),
        (
            EnvironmentSpec(num_cpus=3, memory=64 << 30),
            1,
            2,
            8,
            "asks for 3 CPUs and 64 GiB of memory, and gets 2 CPUs and 8 GiB of memory of this machine",
        ),
        (
            EnvironmentSpec(num_cpus=1),
            3,
            0.6666,
            None,
            "asks 3 times for 1 CPU, and gets 0.6666 CPUs of this machine",
        ),
        (EnvironmentSpec(num_cpus=0), 1000, 0, None, None),
        (
            EnvironmentSpec(num_cpus=0, memory=4 << 30),
            4,
            0,
            2,
            "asks 4 times for 4 GiB of memory, and gets 2 GiB",
        ),
    ],
)
def test_a_laptop_gives_what_it_has_and_says_so(
    asked: EnvironmentSpec, replicas: int, cpus: float, gib: float | None, words: str | None
) -> None:
    gets = fitted(asked, LENT, replicas)

    assert (gets.num_cpus, gets.memory) == (cpus, None if gib is None else gib * 2**30)
    assert impossible(gets, LENT, replicas) is None
    told = less(asked, LENT, replicas)
    assert told == words or (words is not None and told is not None and told.startswith(words))


def test_what_is_no_laptop_gives_all_or_nothing() -> None:
    asked = EnvironmentSpec(num_cpus=4)

    for cluster in (
        ClusterView([LAPTOP]),
        ClusterView([LAPTOP, LAPTOP], lent=True),
        ClusterView([], lent=True),
    ):
        assert fitted(asked, cluster) is asked
        assert less(asked, cluster) is None
        assert impossible(asked, cluster) is not None
    gpu = EnvironmentSpec(num_cpus=4, num_gpus=1)
    assert "1 GPU" in (impossible(fitted(gpu, LENT), LENT) or "")
