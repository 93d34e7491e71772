from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from flyteray._declare.facts import ROLES
from flyteray._ingress.changes import changes, observed
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.limits import Crowd, Limit
from flyteray._ingress.haproxy import maps
from flyteray._ingress.routes import ELSEWHERE, OVER_HTTP2, IngressState, Slot, short_name

slots = st.builds(Slot, st.sampled_from(["127.0.0.1", "10.0.0.7", "::1"]), st.integers(4000, 4004))
ANY_NUMBER = 1_000_000  # stands for no limit
numbers = st.builds(
    sum, st.tuples(st.integers(1, 3), st.sampled_from([0, OVER_HTTP2]), st.sampled_from([0, ELSEWHERE]))
)


some_grants = st.builds(
    Grant,
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(ROLES),
    st.frozensets(st.sampled_from("ab")),
    st.integers(1, 2),
)


@st.composite
def some_states(draw: st.DrawFn) -> IngressState:
    apps = draw(st.dictionaries(st.sampled_from(["a", "b-c", "d_e", "f1"]), st.none() | st.integers(0, 3)))
    backends = st.dictionaries(st.integers(0, 3), st.dictionaries(numbers, slots, max_size=4))
    app = st.sampled_from(sorted(apps)) if apps else st.nothing()
    hosts = st.dictionaries(st.sampled_from(["x.localhost", "models.example.com"]), app)
    timeouts = st.dictionaries(app, st.integers(1, 2))
    private = st.frozensets(st.sampled_from(["a", "b-c", "d_e", "f1"]))
    keys = st.dictionaries(st.sampled_from(["1" * 64, "2" * 64]), some_grants)
    asking = draw(private)
    return IngressState(
        apps,
        draw(backends),
        draw(hosts),
        draw(timeouts),
        draw(st.frozensets(app)),
        asking,
        draw(keys),
        roles=dict.fromkeys(
            draw(st.frozensets(st.sampled_from(sorted(asking)))) if asking else (), ("read", "deploy")
        ),
        forwards=draw(st.frozensets(app)),
        limits=draw(st.dictionaries(app, st.builds(Limit, st.integers(0, 1), st.integers(0, 1)))),
        crowds=draw(
            st.dictionaries(st.integers(0, 3), st.builds(Crowd, st.integers(1, 2), st.integers(0, 1)))
        ),
        origins=draw(st.dictionaries(app, st.frozensets(st.sampled_from(["*", "http://x"]), min_size=1))),
        http2=draw(st.frozensets(st.integers(0, 3))),
    )


states = some_states()


class Proxy:
    """What HAProxy makes of the commands, kept in the words in which it tells it."""

    def __init__(self, state: IngressState) -> None:
        self.maps = {file: list(content.items()) for file, content in maps.entries(state).items()}
        self.servers = {
            f"b{backend}/{maps.server_name(backend, number)}": (slot, True)
            for backend, members in state.backends.items()
            for number, slot in members.items()
        }

        self.told = {  # of activators
            f"b{number}/{name}": "ready"
            if (name == maps.ACTIVATOR_HTTP2) == (number in state.http2)
            else "maint"
            for number in range(4)
            for name in maps.ACTIVATORS
        }
        self.most = {
            f"b{backend}/{short_name(number)}": state.most(backend) or ANY_NUMBER
            for backend, members in state.backends.items()
            for number in members
            if number < ELSEWHERE
        }

    def run(self, commands: Iterable[str]) -> None:
        for command in commands:
            match command.split():
                case ["add", "map", file, key, to]:
                    self.maps[file].append((key, to))
                case ["set", "map", file, key, to]:
                    assert key in dict(self.maps[file])
                    self.maps[file] = [(name, to if name == key else old) for name, old in self.maps[file]]
                case ["del", "map", file, key]:
                    self.maps[file] = [(name, to) for name, to in self.maps[file] if name != key]
                case ["add", "server", server, address, *_]:
                    host, _, port = address.rpartition(":")
                    self.servers.setdefault(server, (Slot(host.strip("[]"), int(port)), False))
                case ["enable", "health", server]:
                    assert server in self.servers
                case ["set", "server", server, "addr", host, "port", port]:
                    self.servers[server] = (Slot(host, int(port)), self.servers[server][1])
                case ["set", "server", server, "state", state] if server.partition("/")[2] in maps.ACTIVATORS:
                    self.told[server] = state
                case ["set", "server", server, "state", state]:
                    self.servers[server] = (self.servers[server][0], state == "ready")
                case ["set", "maxconn", "server", server, most]:
                    assert server in self.servers
                    self.most[server] = int(most)
                case ["set", "server", server, "health", "up"]:
                    assert self.servers[server][1]
                case _:
                    raise AssertionError(command)

    def activators(self, backend: int) -> set[str]:
        """Those that take requests."""
        return {name for name in maps.ACTIVATORS if self.told[f"b{backend}/{name}"] == "ready"}

    def state(self) -> IngressState:
        lines = ["# be_name srv_name srv_addr srv_admin_state srv_port"]
        for name, (address, ready) in self.servers.items():
            lines.append(" ".join([*name.split("/"), address.host, "4" if ready else "5", str(address.port)]))
        shown = {
            file: "\n".join(f"0xabc {k} {to}" for k, to in content) for file, content in self.maps.items()
        }
        return observed(shown, "\n".join(lines))


def same(one: IngressState, other: IngressState) -> bool:
    """Whether two states route alike: a backend without slots is as good as none."""
    said = replace(one, backends={}) == replace(other, backends={})
    return said and all(one.slots(number) == other.slots(number) for number in range(4))


@given(states)
def test_nothing_is_done_where_nothing_changes(state: IngressState) -> None:
    assert changes(state, state) == []


@given(states, states)
def test_the_commands_lead_to_the_new_state(old: IngressState, new: IngressState) -> None:
    proxy = Proxy(old)

    proxy.run(changes(old, new))

    assert same(proxy.state(), new)
    for backend, members in new.backends.items():
        for number in members:
            if number < ELSEWHERE:
                assert proxy.most[f"b{backend}/{short_name(number)}"] == (new.most(backend) or ANY_NUMBER)
        assert proxy.activators(backend) == {maps.ACTIVATORS[backend in new.http2]}


@given(states, states, st.data())
def test_commands_given_again_after_an_interruption_lead_to_the_new_state(
    old: IngressState, new: IngressState, data: st.DataObject
) -> None:
    proxy, commands = Proxy(old), changes(old, new)
    proxy.run(commands[: data.draw(st.integers(0, len(commands)))])

    proxy.run(changes(proxy.state(), new))

    assert same(proxy.state(), new)
    assert all(proxy.activators(number) == {maps.ACTIVATORS[number in new.http2]} for number in range(4))


@settings(max_examples=200)
@given(states, states)
def test_an_app_is_at_no_moment_without_the_replicas_or_the_lock_that_it_has_before_and_after(
    old: IngressState, new: IngressState
) -> None:
    proxy = Proxy(old)
    for command in changes(old, new):
        proxy.run([command])
        now = proxy.state()
        for app, backend in now.apps.items():
            asks = [state.private for state in (old, new) if state.apps.get(app, -1) == backend]
            if backend is not None and now.slots(backend) and asks and all(app in names for names in asks):
                assert app in now.private, f"{app} is open after {command!r}"
        for app, backend in old.apps.items():
            after = new.apps.get(app)
            if backend is None or after is None or not old.slots(backend) or not new.slots(after):
                continue
            serving = now.apps.get(app)
            assert serving is not None
            assert now.slots(serving), f"{app} has no replica after {command!r}"


def test_a_replica_is_ready_before_the_route_turns_and_leaves_after() -> None:
    old = IngressState({"app": 0}, {0: {1: Slot("127.0.0.1", 4001)}})
    new = IngressState({"app": 1}, {1: {1: Slot("127.0.0.1", 4002)}})

    assert changes(old, new) == [
        f"add server b1/s1 127.0.0.1:4002 {maps.options(1, 0)}",
        "set server b1/s1 addr 127.0.0.1 port 4002",
        "set maxconn server b1/s1 1000000",
        "enable health b1/s1",
        "set server b1/s1 state ready",
        "set map apps.map app b1",
        "set server b0/s1 state maint",
    ]


def test_a_backend_of_another_protocol_has_other_servers() -> None:
    old = IngressState({"app": 0}, {0: {1: Slot("127.0.0.1", 4001)}})
    new = IngressState({"app": 0}, {0: {OVER_HTTP2 + 1: Slot("127.0.0.1", 4001)}}, http2=frozenset({0}))

    assert changes(old, new) == [
        "set server b0/act_of_http2 state ready",
        "set server b0/act state maint",
        f"add server b0/g1 127.0.0.1:4001 {maps.options(OVER_HTTP2 + 1, 0)}",
        "set server b0/g1 addr 127.0.0.1 port 4001",
        "set maxconn server b0/g1 1000000",
        "enable health b0/g1",
        "set server b0/g1 state ready",
        "del map http2.map b0",
        "add map http2.map b0 yes",
        "set server b0/s1 state maint",
    ]


def test_a_new_address_in_a_slot_forgets_what_was_known_of_the_old_one() -> None:
    old = IngressState({}, {0: {1: Slot("127.0.0.1", 4001)}})
    new = IngressState({}, {0: {1: Slot("127.0.0.1", 4002)}})

    assert changes(old, new) == [
        f"add server b0/s1 127.0.0.1:4002 {maps.options(1, 0)}",
        "set server b0/s1 addr 127.0.0.1 port 4002",
        "set maxconn server b0/s1 1000000",
        "enable health b0/s1",
        "set server b0/s1 health up",
    ]
