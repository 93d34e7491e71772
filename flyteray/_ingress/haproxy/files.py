"""The files that HAProxy reads when it starts hold the complete state; only what changed is made and written anew."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Mapping
from pathlib import Path

from flyteray._ingress.copies import rules as copies
from flyteray._ingress.entry.hosts import ALL, Hosts
from flyteray._ingress.haproxy import answers, config, maps, shares
from flyteray._ingress.haproxy.login import rules
from flyteray._ingress.haproxy.login.pages import pages
from flyteray._ingress.haproxy.supervisor import CONFIG_FILE
from flyteray._ingress.routes import FEWEST, IngressState, Slot, pool
from flyteray._ingress.trusted_proxies import Trust
from flyteray._settings import Tls
from flyteray._traces.asked import Sampling


class Files:
    """The files of a HAProxy in its directory, but for certificates; with ``logs`` it tells all of each request.

    With a ``sampling`` it goes on with traces.

    Attributes:
        backends: How many backends the configuration has from the next writing on. They never become fewer.
        peers: Whether HAProxy takes what other ingresses send, from the next writing on.
    """

    def __init__(
        self,
        directory: Path,
        trust: Trust,
        hosts: Hosts = ALL,
        logs: bool = False,
        half_closed: bool = False,
        tls: Tls | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.backends = FEWEST
        self.peers = False
        self._directory = directory
        self._trust = trust
        self._hosts = hosts
        self._half_closed = half_closed
        self._logs = logs
        self._tls = tls
        self._sampling = sampling
        self._texts: dict[str, str] = {}
        self._maps: dict[str, dict[str, str]] = {}
        self._sections: dict[int, tuple[tuple[Mapping[int, Slot], int, bool], str]] = {}

    def write(self, state: IngressState | None, is_all: bool = True) -> None:
        """Have the files hold a state, as a node sees it; None: there is none yet.

        Where more is known, not ``is_all``, a worker that reads them lets requests wait until it is told the rest.
        """
        is_known = state is not None
        state = state or IngressState()
        self.backends = max(self.backends, pool(state.needs()))
        for name, content in maps.entries(state).items():
            if self._maps.get(name) != content:
                self._put(name, maps.text(content))
                self._maps[name] = content
        self._put(maps.TOLD, maps.told(is_known, is_all))
        self._put(config.LUA_FILE, config.UNTIL_TOLD + answers.BROKEN + shares.LUA + rules.LUA + copies.LUA)
        for name, page in pages().items():
            self._put(name, page)
        first = config.frame(
            threads=config.threads(len(os.sched_getaffinity(0))),
            connections=config.connections(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
            trust=self._trust,
            peers=self.peers,
            hosts=self._hosts,
            logs=self._logs,
            half_closed=self._half_closed,
            tls=self._tls,
            sampling=self._sampling,
        )
        sections = [
            self._section(number, state.slots(number), state.most(number), number in state.http2)
            for number in range(self.backends)
        ]
        self._put(CONFIG_FILE, "\n".join([first, *sections]))

    def hold_a_state(self) -> bool:
        """Whether there is one to go by in those that are there."""
        file = self._directory / maps.TOLD
        return not file.exists() or maps.tell_anything(file.read_text())

    def last_state(self) -> IngressState:
        """The state that the files hold, but for the replicas."""
        content = {}
        for file in (*maps.FILES, *maps.FOR_ACTIVATOR):
            with contextlib.suppress(FileNotFoundError):
                content[file] = maps.parse((self._directory / file).read_text())
        return maps.state(content, {})

    def _section(self, number: int, slots: Mapping[int, Slot], most: int, over_http2: bool) -> str:
        known = self._sections.get(number)
        wanted = slots, most, over_http2
        if known is None or known[0] != wanted:
            known = self._sections[number] = wanted, config.section(number, *wanted)
        return known[1]

    def _put(self, name: str, text: str) -> None:
        if self._texts.get(name) == text:
            return
        draft = self._directory / f"{name}.new"
        draft.write_text(text)
        draft.replace(self._directory / name)
        self._texts[name] = text
