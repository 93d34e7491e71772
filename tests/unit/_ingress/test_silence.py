from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from flyteray._ingress import silence
from flyteray._ingress.routes import Slot
from flyteray._ingress.silence import SilenceWatch
from flyteray.errors import RuntimeSystemError
from tests.waiting import eventually


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "DOUBTFUL_S", 0.3)
    monkeypatch.setattr(silence, "SILENT_S", 0.5)
    monkeypatch.setattr(silence, "_EVERY_S", 0.05)
    monkeypatch.setattr(silence, "_ANSWER_S", 0.2)


@contextlib.contextmanager
def full() -> Iterator[tuple[socket.socket, Slot]]:
    """A listener whose queue is full: the kernel answers nobody who connects, as a machine that is gone."""
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener, Slot(*listener.getsockname())


@pytest.mark.usefixtures("quick")
def test_one_that_does_not_answer_is_doubted_all_the_time_and_told_of_once() -> None:
    told: list[Slot] = []
    doubted: list[frozenset[Slot]] = []
    watch = SilenceWatch(doubted.append, told.append)
    with full() as (listener, silent):
        watch.watch([silent])
        eventually(lambda: told)
        more = len(doubted) + 10
        eventually(lambda: len(doubted) > more)
        assert watch.found == set(doubted[0]) == {silent}
        for _ in range(3):
            listener.accept()[0].close()
        eventually(lambda: not doubted[-1])
        watch.stop()

    assert told == [silent]
    assert watch.found == set()


@pytest.mark.usefixtures("quick")
def test_what_can_not_be_told_is_told_later(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Slot] = []
    refusals = iter([RuntimeSystemError("IngressError", "HAProxy does not answer"), ConnectionRefusedError()])

    def doubt(ingresses: frozenset[Slot]) -> None:
        for error in refusals:
            raise error

    watch = SilenceWatch(doubt, told.append)
    with full() as (_, silent):
        watch.watch([silent])
        eventually(lambda: told)
        watch.stop()

    assert told == [silent]
    assert "HAProxy does not answer" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_one_that_refuses_or_takes_connections_is_not_silent() -> None:
    told: list[Slot] = []
    doubted: list[frozenset[Slot]] = []
    watch = SilenceWatch(doubted.append, told.append)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        watch.watch([Slot(*listener.getsockname()), Slot(*closed.getsockname())])
        for _ in range(20):  # a second of looks
            listener.accept()[0].close()
        watch.stop()

    assert told == doubted == []


@pytest.mark.usefixtures("quick")
def test_what_is_watched_no_longer_is_not_told_of() -> None:
    told: list[Slot] = []
    doubted: list[frozenset[Slot]] = []
    watch = SilenceWatch(doubted.append, told.append)
    with full() as (_, first), full() as (_, second):
        watch.watch([first, second])
        watch.watch([second])
        eventually(lambda: told)
        watch.stop()

    assert told == [second]
    assert set(doubted) == {frozenset([second])}
