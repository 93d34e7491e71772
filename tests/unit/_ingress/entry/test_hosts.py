from __future__ import annotations

from flyteray._ingress.entry.hosts import Hosts


def test_a_machine_is_called_by_its_name_and_what_was_named() -> None:
    hosts = Hosts.of("Box.Lan.example", ("apps.example.com", "*.corp.example"))

    assert hosts.names == ("localhost", "box.lan.example", "box", "box.local", "apps.example.com")
    assert hosts.endings == (".localhost", ".corp.example")
    assert not hosts.any


def test_all_hosts_can_be_named_at_once() -> None:
    assert Hosts.of("box", ("*",)).any
    assert Hosts.of("box", ("*",)).names == ("localhost", "box", "box.local")
