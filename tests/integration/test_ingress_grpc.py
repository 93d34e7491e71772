"""gRPC through the ingress: calls of each kind, what they carry, how they end, and what the ingress itself answers."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import httpx
import pytest

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.limits import Crowd, Limit
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import OVER_HTTP2, IngressState, Slot
from flyteray._settings import Tls
from tests.certificates import Issuer
from tests.integration.grpc_talk import Chat, Client, Talk, channel, failure, serve
from tests.waiting import eventually

G = OVER_HTTP2
KEY = "a-key"
KEYS = {hashlib.sha256(KEY.encode()).hexdigest(): Grant("ann")}
BEARER = (("authorization", f"Bearer {KEY}"),)


@contextmanager
def talking(name: str = "", port: int = 0) -> Iterator[tuple[Talk, Slot]]:
    """A replica, and where it is."""
    talk = Talk(name)
    server, port = serve(talk, f"127.0.0.1:{port}")
    try:
        yield talk, Slot("127.0.0.1", port)
    finally:
        server.stop(None).wait()


def state(*slots: Slot, **fields: Any) -> IngressState:
    """The app ``talk`` with these replicas."""
    members = {G + number: slot for number, slot in enumerate(slots, start=1)}
    return IngressState({"talk": 0}, {0: members}, owners={0: "talk"}, http2=frozenset({0}), **fields)


@pytest.fixture(scope="module")
def talk(ingress: Ingress) -> Iterator[Talk]:
    with talking() as (talk, slot):
        ingress.apply(state(slot))
        yield talk


@pytest.fixture(scope="module")
def by_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ingress, bytes]]:
    """An ingress with the app ``talk`` that clients come to by TLS, and whom its certificate is of."""
    issuer = Issuer()
    issued = issuer.issue(
        "localhost", "127.0.0.1", "talk.localhost", "*.example.org"
    )  # gRPC takes no *.localhost
    tls = Tls(*issued.put(tmp_path_factory.mktemp("tls")))
    ingress = Ingress(tmp_path_factory.mktemp("by-tls"), watched=os.getpid(), tls=tls)
    with talking() as (_, slot):
        ingress.apply(state(slot, hosts={"talk.example.org": "talk"}))
        yield ingress, issuer.certificate
    ingress.stop()


@pytest.fixture
def client(ingress: Ingress, talk: Talk) -> Iterator[Client]:
    with calling(ingress) as client:
        yield client


def calling(ingress: Ingress, app: str | None = "talk") -> Client:
    """A client that names its app by the authority of its calls."""
    return Client(channel(f"127.0.0.1:{ingress.port()}", app))


def test_calls_of_each_kind_go_through(client: Client) -> None:
    assert client.echo(b"hello", timeout=20) == b"hello"
    assert list(client.count(b"100", timeout=20)) == [str(number).encode() for number in range(100)]
    assert client.join(iter([b"a", b"b", b"", b"c"]), timeout=20) == b"abc"
    assert list(client.chat(iter([b"a", b"b"]), timeout=20)) == [b"a", b"b"]


def test_a_host_of_this_machine_names_an_app_by_itself(ingress: Ingress, talk: Talk) -> None:
    with Client(channel(f"talk.localhost:{ingress.port()}")) as client:
        assert client.echo(b"hello", timeout=20) == b"hello"


def test_messages_are_answered_while_more_are_to_come(client: Client) -> None:
    chat = Chat(client, timeout=20)

    assert [chat.say(b"a"), chat.say(b"b")] == [b"a", b"b"]
    assert chat.end() == []


def test_many_streams_share_a_channel(client: Client) -> None:
    chats = [Chat(client, timeout=20) for _ in range(20)]

    for number, chat in enumerate(chats):
        assert chat.say(b"%d" % number) == b"%d" % number
    assert all(chat.end() == [] for chat in chats)


def test_metadata_and_trailers_arrive(client: Client, talk: Talk) -> None:
    sent = (("some-word", "a b"), ("more-bin", b"\x00\x01"))

    answer, call = client.echo.with_call(b"", timeout=20, metadata=sent)

    assert answer == b""
    assert dict(call.initial_metadata())["first"] == "1"
    told = dict(call.trailing_metadata())
    assert (told["last"], told["some-bin"]) == ("2", b"\x00\xff")
    seen = talk.seen["Echo"][-1]
    assert {**dict(sent), **seen} == seen
    assert seen["x-forwarded-host"] == "talk.localhost"
    assert "x-request-id" in seen


def test_what_an_app_says_of_a_failure_is_what_its_client_is_told(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        client.fail(b"", timeout=20)

    told: Any = failed.value
    assert (told.code(), told.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing: 100 % \u00fc")
    assert dict(told.trailing_metadata())["why"] == "none"
    unknown = client.channel.unary_unary("/test.Talk/Nothing")
    assert failure(lambda: unknown(b"", timeout=20)) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Method not found!",
    )


def test_a_deadline_is_known_to_both_sides(client: Client, talk: Talk) -> None:
    before = talk.left

    code, _ = failure(lambda: client.wait(b"", timeout=1))

    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert talk.remaining_s is not None
    assert 0 < talk.remaining_s < 1.5  # gRPC rounds it up
    eventually(lambda: talk.left == before + 1, timeout=10)


def test_an_app_learns_at_once_that_its_client_has_cancelled(client: Client, talk: Talk) -> None:
    before, asked = talk.left, len(talk.seen.get("Wait", ()))
    call = client.wait.future(b"")
    eventually(lambda: len(talk.seen.get("Wait", ())) > asked)

    call.cancel()

    eventually(lambda: talk.left == before + 1, timeout=5)


def test_large_messages_go_both_ways(client: Client) -> None:
    large = bytes(range(256)) * (4 << 12)  # 4 MiB

    assert client.echo(large, timeout=60) == large
    assert client.join(iter([large, large]), timeout=60) == large * 2


def test_other_clients_of_http_reach_the_app_as_well(ingress: Ingress, client: Client) -> None:
    """An app may serve more than gRPC over HTTP/2; HTTP/1.1 is translated."""
    answer = httpx.post(
        f"http://127.0.0.1:{ingress.port()}/talk/test.Talk/Name",
        content=b"\x00\x00\x00\x00\x00",
        headers={"content-type": "application/grpc", "te": "trailers"},
    )

    assert (answer.status_code, answer.content) == (200, b"\x00\x00\x00\x00\x00")


def test_who_names_no_app_is_told_how_to(ingress: Ingress) -> None:
    for app, name in ((None, "test.Talk"), ("nobody", "nobody")):
        with calling(ingress, app) as client:
            code, words = failure(lambda: client.echo(b"", timeout=20))
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert words.startswith(f"There is no app named '{name}'. A channel names its app by its host")


def test_a_host_that_nobody_named_is_not_answered(ingress: Ingress, talk: Talk) -> None:
    target = f"127.0.0.1:{ingress.port()}"
    with Client(channel(target, **{"grpc.default_authority": "evil.example"})) as client:
        by_path = client.channel.unary_unary("/talk/test.Talk/Echo")
        code, words = failure(lambda: by_path(b"", timeout=20))

    assert code is grpc.StatusCode.UNKNOWN
    assert "No app answers to the host 'evil.example'" in words


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ((), "App 'talk' asks for a key: send the header 'Authorization: Bearer KEY'."),
        ((("authorization", "Bearer wrong"),), "the one that was sent is not or no longer right"),
    ],
)
def test_a_key_is_asked_for(ingress: Ingress, metadata: Any, words: str) -> None:
    with talking() as (talk, slot), calling(ingress) as client:
        ingress.apply(state(slot, private=frozenset({"talk"}), keys=KEYS))

        code, told = failure(lambda: client.echo(b"", timeout=20, metadata=metadata))
        assert client.echo(b"right", timeout=20, metadata=BEARER) == b"right"

        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert words in told
        assert [("authorization" in seen, seen["x-flyteray-user"]) for seen in talk.seen["Echo"]] == [
            (False, "ann")
        ]


def test_a_stream_ends_with_its_key(ingress: Ingress) -> None:
    with talking() as (_, slot), calling(ingress) as client:
        locked = state(slot, private=frozenset({"talk"}), keys=KEYS)
        ingress.apply(locked)
        chat = Chat(client, timeout=60, metadata=BEARER)
        assert chat.say(b"a") == b"a"

        ingress.apply(replace(locked, keys={}))

        assert failure(lambda: list(chat.call))[0] is grpc.StatusCode.CANCELLED


def test_a_key_for_other_apps_or_of_a_low_role_is_refused(ingress: Ingress) -> None:
    [digest] = KEYS
    with talking() as (_, slot), calling(ingress) as client:
        for grant, words in (
            (Grant("ann", apps=frozenset({"other"})), "The key 'ann' is not for app 'talk'"),
            (Grant("ann", "read"), "with the role 'invoke' or a higher one"),
        ):
            ingress.apply(state(slot, private=frozenset({"talk"}), keys={digest: grant}))
            code, told = failure(lambda: client.echo(b"", timeout=20, metadata=BEARER))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert words in told


def test_limits_are_told_of(ingress: Ingress) -> None:
    with talking() as (_, slot), calling(ingress) as client:
        ingress.apply(state(slot, limits={"talk": Limit(1, 0, 0)}))
        told = [_ended(client) for _ in range(5)]
        assert (grpc.StatusCode.UNAVAILABLE, True) in [
            (code, "takes 1 requests a second" in words) for code, words in told
        ]

        ingress.apply(state(slot, crowds={0: Crowd(1, 0)}))
        chat = Chat(client, timeout=60)
        assert chat.say(b"a") == b"a"
        code, words = failure(lambda: client.echo(b"", timeout=20))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "works on as many requests as it takes at one time" in words
        assert chat.end() == []
        assert client.echo(b"again", timeout=20) == b"again"


def _ended(client: Client) -> tuple[grpc.StatusCode, str]:
    try:
        client.echo(b"", timeout=20)
    except grpc.RpcError as error:
        told: Any = error
        return told.code(), told.details()
    return grpc.StatusCode.OK, ""


def test_a_replica_that_breaks_off_and_one_that_is_too_slow_are_told_of(ingress: Ingress) -> None:
    with calling(ingress) as client:
        talk = Talk()
        server, port = serve(talk, "127.0.0.1:0")
        ingress.apply(state(Slot("127.0.0.1", port)))
        call = client.wait.future(b"", timeout=60)
        eventually(lambda: talk.seen.get("Wait"))
        server.stop(None).wait()
        code, words = failure(call.result)
        assert code in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
        )  # as the server ended it, or the ingress

    with talking() as (_, slot), calling(ingress) as client:
        ingress.apply(state(slot, timeouts={"talk": 500}))
        code, words = failure(lambda: client.wait(b"", timeout=60))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "'talk' did not answer within the 500 ms" in words


def test_calls_wait_for_the_first_replica(ingress: Ingress) -> None:
    asleep = state(waits={"talk": 60_000})
    ingress.apply(asleep)
    with calling(ingress) as client, calling(ingress) as another, talking("new") as (_, slot):
        unary = client.name.future(b"", timeout=60)
        # HAProxy reads no call of a connection while one of them has sent more than can be held
        large = another.join.future(iter([bytes(1 << 20)] * 4), timeout=60)
        chat = Chat(client, timeout=60)
        eventually(lambda: ingress.traffic([0])[0][0] == 3)

        ingress.apply(state(slot, waits={"talk": 60_000}))

        assert unary.result() == b"new"
        assert len(large.result()) == 4 << 20
        assert [chat.say(b"a"), chat.say(b"b")] == [b"newa", b"newb"]
        assert client.name(b"", timeout=20) == b"new"
        assert chat.say(b"c") == b"newc"
        assert chat.end() == []
        eventually(lambda: ingress.traffic([0])[0][0] == 0)


def test_calls_wait_for_an_app_that_comes_up_for_the_first_time(ingress: Ingress) -> None:
    names = frozenset({"talk"})
    ingress.apply(IngressState({"talk": None}, waits={"talk": 60_000}, coming=names, coming_http2=names))
    with calling(ingress) as client, talking("new") as (_, slot):
        call = client.name.future(b"", timeout=60)
        chat = Chat(client, timeout=60)
        time.sleep(0.5)  # longer than HAProxy takes for a connection

        ingress.apply(state(slot))

        assert call.result() == b"new"
        assert chat.say(b"a") == b"newa"
        assert chat.end() == []


def test_who_waits_in_vain_is_told_why(ingress: Ingress) -> None:
    ingress.apply(state(reasons={"talk": "it could not start: 50 %\nof it"}, waits={"talk": 700}))
    with calling(ingress) as client:
        code, words = failure(lambda: client.echo(b"", timeout=20))

    assert code is grpc.StatusCode.UNAVAILABLE
    assert words.startswith(
        "App 'talk' has no replica ready to answer (it could not start: 50 %\nof it). 'flyteray get app talk'"
    )
    ingress.apply(IngressState({"talk": None}))
    with calling(ingress) as client:
        assert failure(lambda: client.echo(b"", timeout=20)) == (
            grpc.StatusCode.UNAVAILABLE,
            "App 'talk' is stopped. 'flyteray serve' starts it again.",
        )


def test_a_deadline_counts_while_a_call_waits(ingress: Ingress) -> None:
    ingress.apply(state(waits={"talk": 60_000}))
    with calling(ingress) as client:
        assert failure(lambda: client.echo(b"", timeout=1))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: ingress.traffic([0])[0][0] == ingress._activator._held == 0, timeout=10)


def test_a_stream_goes_on_where_its_replica_takes_no_more(ingress: Ingress) -> None:
    with talking("old") as (_, old), talking("new") as (_, new), calling(ingress) as client:
        ingress.apply(state(old))
        chat = Chat(client, timeout=60)
        assert chat.say(b"a") == b"olda"

        # another version, in another backend
        ingress.apply(
            IngressState(
                {"talk": 1}, {0: {}, 1: {G + 1: new}}, owners={0: "talk", 1: "talk"}, http2=frozenset({0, 1})
            )
        )

        assert client.name(b"", timeout=20) == b"new"
        assert chat.say(b"b") == b"oldb"
        assert chat.end() == []
        eventually(lambda: ingress.traffic([0])[0][0] == 0)


def test_what_is_open_goes_on_when_it_is_loaded_anew_and_new_apps_are_reached_by_it(
    ingress: Ingress,
) -> None:
    with talking("old") as (_, old), talking("new") as (_, new):
        ingress.apply(state(old))
        with calling(ingress) as client:
            chat = Chat(client, timeout=60)
            assert chat.say(b"a") == b"olda"

            ingress._engine.reload(lambda: None)
            members = {0: {G + 1: old}, 1: {G + 1: new}}
            both = IngressState({"talk": 1}, members, owners={0: "talk", 1: "talk"}, http2=frozenset({0, 1}))
            ingress.apply(both)

            assert chat.say(b"b") == b"oldb"
            assert client.name(b"", timeout=60) == b"new"
            assert chat.end() == []


def test_a_backend_that_spoke_http_1_is_spoken_to_in_http_2(ingress: Ingress, replica: Any) -> None:
    address = f"http://127.0.0.1:{ingress.port()}"
    ingress.apply(IngressState({"plain": 0}, {0: {1: replica.slot}}, owners={0: "plain"}))
    assert httpx.get(f"{address}/plain/").status_code == 200

    with talking("g") as (_, slot), calling(ingress) as client:
        ingress.apply(state(slot))
        assert client.name(b"", timeout=20) == b"g"

    ingress.apply(IngressState({"plain": 0}, {0: {1: replica.slot}}, owners={0: "plain"}))
    assert httpx.get(f"{address}/plain/").status_code == 200


@pytest.mark.parametrize(
    ("address", "authority"),
    [
        ("talk.localhost:{port}", None),
        ("localhost:{port}", "talk.localhost"),
        ("127.0.0.1:{port}", "talk.example.org"),
    ],
)
def test_calls_come_by_tls(by_tls: tuple[Ingress, bytes], address: str, authority: str | None) -> None:
    ingress, issuer = by_tls
    options: list[Any] = [("grpc.enable_http_proxy", 0)]
    if authority:
        options.append(("grpc.default_authority", authority))
    target = address.format(port=ingress.tls_port())
    with Client(grpc.secure_channel(target, grpc.ssl_channel_credentials(issuer), options)) as client:
        assert list(client.chat(iter([b"a", b"b"]), timeout=20)) == [b"a", b"b"]


def test_a_stream_may_be_silent_for_as_long_as_it_likes(ingress: Ingress) -> None:
    """Bodies that drip are ended elsewhere; of such a stream it is the way."""
    with talking() as (_, slot), calling(ingress) as client:
        ingress.apply(state(slot))
        chat = Chat(client, timeout=120)
        joined = client.join.future(iter(_slowly()), timeout=120)
        eventually(lambda: ingress.traffic([0])[0][0] == 2)
        time.sleep(25)  # older than those that are looked at

        assert ingress._workers.awaited() == {}
        joined.cancel()
        assert chat.say(b"a") == b"a"
        assert chat.end() == []


def _slowly() -> Iterator[bytes]:
    yield b"a"
    time.sleep(120)
