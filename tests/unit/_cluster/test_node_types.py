from __future__ import annotations

import math

from flyteray._cluster.node_types import types_of
from flyteray._plan.placement import NodeType


def test_the_types_of_an_autoscalers_configuration_are_those_that_it_may_add() -> None:
    config = {
        "max_workers": 5,
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 8}, "max_workers": 3},
            "none": {"resources": {"CPU": 8}, "max_workers": 0},
            "few": {"resources": {"CPU": 8, "GPU": 1}, "labels": {"disk": "fast"}, "max_workers": 2},
            "many": {"resources": {"CPU": -1}, "max_workers": 99},
            "found-out": {"node_config": {}},
        },
    }

    assert types_of(config) == [
        NodeType("few", {"CPU": 8.0, "GPU": 1.0}, {"disk": "fast"}, most=2),
        NodeType("many", {"CPU": math.inf}, {}, most=5),
        NodeType("found-out", None, {}, most=5),
    ]
    assert types_of({}) == []
