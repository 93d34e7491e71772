from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.hosts import Hosts
from flyteray._ingress.entry.limits import Crowd, Limit
from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.config import connections, frame, threads
from flyteray._ingress.haproxy.files import Files
from flyteray._ingress.haproxy.supervisor import CONFIG_FILE
from flyteray._ingress.routes import ELSEWHERE, OVER_HTTP2, Copying, IngressState, Slot
from flyteray._ingress.trusted_proxies import NOBODY, Trust

STATE = IngressState(
    {"hello": 3, "halted": None},
    {3: {2: Slot("127.0.0.1", 4001), 32: Slot("::1", 4002)}},
)

DIGEST, OTHER = "0123456789abcdef" * 4, "f" * 64
_PROXIED = "pool-max-conn 0 send-proxy-v2 proxy-v2-options unique-id"
ACTIVATORS = [
    f"server act unix@act.sock backup {_PROXIED}",
    f"server act_of_http2 unix@act.sock backup proto h2 max-reuse 0 {_PROXIED}",
]


def written(state: IngressState, directory: Path) -> str:
    """The configuration that HAProxy would read for a state."""
    Files(directory, NOBODY).write(state)
    return (directory / CONFIG_FILE).read_text()


def map_texts(state: IngressState) -> dict[str, str]:
    return {file: maps.text(content) for file, content in maps.entries(state).items()}


def backend(text: str, name: str) -> list[str]:
    """The server lines of a backend, without what is the same in all."""
    [section] = re.findall(rf"^backend {name}\n((?:    .*\n)*)", text, re.MULTILINE)
    return [
        re.sub(r" cookie .* weight 256", "", line.strip())
        for line in section.splitlines()
        if "server" in line.split("-")[0]
    ]


def test_used_slots_are_servers(tmp_path: Path) -> None:
    text = written(STATE, tmp_path)

    assert backend(text, "b3") == [
        "server s2 127.0.0.1:4001",
        "server s32 [::1]:4002",
        ACTIVATORS[0],
        f"{ACTIVATORS[1]} disabled",
    ]
    assert backend(text, "b4") == [ACTIVATORS[0], f"{ACTIVATORS[1]} disabled"]
    assert len(re.findall(r"^backend b", text, re.MULTILINE)) == 128


def test_servers_of_http_2_are_spoken_to_so_here_elsewhere_and_where_there_is_none(tmp_path: Path) -> None:
    slots = {OVER_HTTP2 + 1: Slot("127.0.0.1", 1), ELSEWHERE + OVER_HTTP2 + 2: Slot("10.0.0.1", 2)}
    state = IngressState(
        {"hello": 3, "first": None},
        {3: slots},
        http2=frozenset({3}),
        coming=frozenset({"first"}),
        coming_http2=frozenset({"first"}),
    )

    here, there, *activators = backend(text := written(state, tmp_path), "b3")

    assert here == "server g1 127.0.0.1:1 proto h2"
    assert there.startswith("server b3-g2 10.0.0.1:2 ")
    assert there.endswith(" alpn h2")
    assert activators == [f"{ACTIVATORS[0]} disabled", ACTIVATORS[1]]
    assert backend(text, "coming-http2") == [ACTIVATORS[1].replace("backup ", "")]
    assert map_texts(state)["http2.map"] == "b3 yes\ncoming-http2 yes\n"
    assert map_texts(state)["apps.map"] == "- own\nfirst coming-http2\nhello b3\n"
    assert (
        maps.state({file: maps.parse(text) for file, text in map_texts(state).items()}, {3: slots}) == state
    )


def test_servers_here_take_as_many_requests_as_was_said(tmp_path: Path) -> None:
    backends = {
        3: {2: Slot("127.0.0.1", 1), ELSEWHERE + 1: Slot("10.0.0.1", 2)},
        4: {1: Slot("127.0.0.1", 3)},
    }
    files = Files(tmp_path, NOBODY)
    lines = []
    for crowds in ({3: Crowd(5, 0)}, {}):
        files.write(IngressState(backends=backends, crowds=crowds))
        servers = re.findall(
            r"^    server (?!act|own)(.*)", (tmp_path / CONFIG_FILE).read_text(), re.MULTILINE
        )
        lines.append([re.findall(r"maxconn (\d+)", server) for server in servers])

    assert lines == [[["5"], [], []], [[], [], []]]


@pytest.mark.parametrize(("backend", "all_of_them"), [(127, 128), (128, 256), (1000, 1024)])
def test_backends_are_there_ahead(backend: int, all_of_them: int, tmp_path: Path) -> None:
    text = written(IngressState({"hello": backend}), tmp_path)

    assert len(re.findall(r"^backend b", text, re.MULTILINE)) == all_of_them


def test_the_maps_tell_the_backend_of_each_app_and_what_it_asks_for() -> None:
    state = replace(
        STATE,
        hosts={"x.localhost": "hello"},
        timeouts={"halted": 1500},
        sticky=frozenset({"hello"}),
        private=frozenset({"hello", "halted"}),
        roles={"halted": ("read", "deploy")},
        forwards=frozenset({"hello"}),
        origins={"hello": frozenset({"https://a.example:1", "*"})},
        limits={"hello": Limit(5, 6, 7)},
        crowds={3: Crowd(4, 8)},
        keys={
            DIGEST: Grant("ann@example.com"),
            OTHER: Grant("bob", "read", frozenset({"hello", "x"}), 7, sign="e0"),
        },
        waits={"hello": 9},
        reasons={"hello": "it\nis\u2028 100 %"},
        apps={**STATE.apps, "first": None},
        coming=frozenset({"first"}),
        owners={3: "hello"},
        near={"b3": "1", "b3.0": "s2"},
        shares={"hello": {4: 2}},
        shadows={"hello": Copying("s1", 5, 3, 1000, safe_only=True)},
        versions={"hello": {"v1": 3, "v2": 4}},
    )

    assert map_texts(state) == {
        "apps.map": "- own\nfirst coming\nhalted stopped\nhello b3\n",
        "hosts.map": "x.localhost hello\n",
        "timeouts.map": "halted 1500\n",
        "sticky.map": "hello yes\n",
        "private.map": "- 1/1\nhalted 1/3\nhello 2/2\n",
        "forwards.map": "hello yes\n",
        "origins.map": "hello/* yes\nhello/https://a.example:1 yes\n",
        "keys.map": f"{DIGEST} ann@example.com/2/253402300799/all\n{OTHER} bob/1/7/some/e0\n",
        "limits.map": "hello 5/6/7\n",
        "crowds.map": "b3 4/8\n",
        "opens.map": f"{OTHER}/hello yes\n{OTHER}/x yes\n",
        "waits.map": "hello 9\n",
        "owners.map": "b3 hello\n",
        "near.map": "b3 1\nb3.0 s2\n",
        "http2.map": "coming-http2 yes\n",
        "shares.map": "hello @chance\nhello.0 b4\nhello.1 b4\n",
        "shadows.map": "hello s1/b5/b3/1000/safe\n",
        "versions.map": "b3 v1\nb4 v2\nhello/v1 b3\nhello/v2 b4\n",
        "reasons.map": "hello it%0Ais%E2%80%A8%20100%20%25\n",
    }


def test_maps_are_read_as_they_were_written() -> None:
    state = replace(
        STATE,
        hosts={"x.localhost": "hello"},
        timeouts={"halted": 1},
        sticky=frozenset({"hello"}),
        private=frozenset({"hello", "coming"}),
        roles={"coming": ("read", "deploy")},
        forwards=frozenset({"hello"}),
        origins={"hello": frozenset({"https://a.example:1", "*"})},
        limits={"hello": Limit(5, 6, 7)},
        crowds={3: Crowd(4, 8)},
        keys={DIGEST: Grant("ann@example.com"), OTHER: Grant("bob", "admin", frozenset({"hello", "x"}), 7)},
        waits={"hello": 9},
        reasons={"hello": "it\nis\u2028 100 %"},
        apps={**STATE.apps, "first": None},
        coming=frozenset({"first"}),
        shares={"hello": {4: 2, 5: 30}, "halted": {6: 1}},
        sticks={"hello": "cookie", "halted": "X-User"},
        shadows={"hello": Copying("s1", 5, 3, 1000), "halted": Copying("s2", 6, 7, 1, safe_only=True)},
        versions={"hello": {"v1": 3, "v2": 4}},
    )
    content = {file: maps.parse(text) for file, text in map_texts(state).items()}

    assert maps.state(content, state.backends) == state


def test_what_maps_say_of_an_app_that_is_gone_is_not_believed() -> None:
    content = {
        "hosts.map": {"x.localhost": "gone"},
        "timeouts.map": {"gone": "1"},
        "sticky.map": {"gone": "yes"},
        "waits.map": {"gone": "1"},
        "reasons.map": {"gone": "it"},
    }

    assert maps.state(content, {}) == IngressState()


def test_the_configuration_says_nothing_of_the_machine(tmp_path: Path) -> None:
    text = written(STATE, tmp_path)

    assert "/" not in "".join(line for line in text.splitlines() if "socket" in line or "bind" in line)


@pytest.mark.parametrize(
    ("open_files", "expected"), [(-1, 16384), (1 << 20, 16384), (20000, 7952), (4096, 256), (0, 256)]
)
def test_as_many_connections_as_descriptors_allow(open_files: int, expected: int) -> None:
    assert connections(open_files) == expected


@pytest.mark.parametrize(("cpus", "expected"), [(0, 1), (1, 1), (2, 2), (4, 4), (64, 4)])
def test_a_thread_for_each_core_up_to_four(cpus: int, expected: int) -> None:
    assert threads(cpus) == expected


def test_one_address_gets_half_of_the_connections_and_a_trusted_proxy_all() -> None:
    alone = frame(threads=1, connections=1000)
    behind = frame(threads=1, connections=1000, trust=Trust(("10.0.0.0/8", "fd00::/8")))

    assert "reject if { sc_conn_cur(3) gt 500 }\n" in alone
    assert "reject if { sc_conn_cur(3) gt 500 } !{ src 10.0.0.0/8 fd00::/8 }\n" in behind


def test_clients_that_do_not_read_are_left_to_the_kernel() -> None:
    [bind] = re.findall(r"frontend apps\n(?:.*\n)*?    bind (.*)", frame(threads=1, connections=1000))

    assert bind.endswith(" tcp-ut 5m")


@pytest.mark.parametrize("name", ["apps", "peers", "copies"])
def test_no_two_conditions_of_a_frontend_have_one_name(name: str) -> None:
    trust = Trust(("10.0.0.0/8",))
    text = frame(threads=1, connections=1000, trust=trust, peers=True, hosts=Hosts.of("here", []), logs=True)
    [section] = re.findall(rf"^frontend {name}\n((?:.*\n)*?)(?=^\w)", text + "end\n", re.MULTILINE)
    lines = [line.split(maxsplit=2) for line in section.splitlines()]
    known: dict[str, str] = {}
    before = ""
    for words in lines:
        if words[:1] != ["acl"]:
            before = ""
            continue
        condition, rest = words[1], words[2]
        # One that says several things on end is true for any of them.
        assert condition in (before, *({condition} - known.keys())) or known[condition] == rest, condition
        before, known[condition] = condition, rest
