from __future__ import annotations

from typing import cast

from flyteray._control.apps.member import Member
from flyteray._ingress.door import IngressDoor
from flyteray._plan.traffic.figures import Figures


def test_figures_of_an_ingress_that_began_anew_are_all_new() -> None:
    member = Member("10.0.0.1", "node", cast(IngressDoor, None))

    assert member.since(3, Figures(requests=5, errors=1)) == Figures(requests=5, errors=1)
    assert member.since(3, Figures(requests=9, errors=1)) == Figures(requests=4)
    assert member.since(3, Figures(requests=2, errors=2)) == Figures(requests=2, errors=2)
    assert member.since(4, Figures(requests=1)) == Figures(requests=1)
