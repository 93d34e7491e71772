from __future__ import annotations

from flyteray._control.apps.unused import UnusedMachines

HERE, THERE = "10.0.0.2", "10.0.0.3"


def test_a_machine_is_left_when_nothing_has_run_there_for_a_while() -> None:
    machines = UnusedMachines()
    machines.see({HERE}, 0.0)
    machines.see({HERE, THERE}, 10.0)

    assert HERE in machines
    assert machines.for_long(19.0) == []
    assert machines.for_long(20.0) == [HERE]
    assert machines.for_long(30.0) == [HERE, THERE]


def test_what_runs_meanwhile_begins_the_time_anew() -> None:
    machines = UnusedMachines()
    machines.see({HERE}, 0.0)
    machines.see(set(), 15.0)
    assert HERE not in machines
    machines.see({HERE}, 16.0)

    assert machines.for_long(35.0) == []
    assert machines.for_long(36.0) == [HERE]


def test_who_looks_for_an_ingress_gets_one_and_keeps_it_for_a_while() -> None:
    machines = UnusedMachines()
    machines.see({HERE}, 0.0)
    machines.look_for(HERE, 30.0)
    machines.see({HERE}, 31.0)
    assert HERE not in machines

    machines.see({HERE}, 50.0)
    assert HERE in machines
    assert machines.for_long(69.0) == []
    assert machines.for_long(70.0) == [HERE]
