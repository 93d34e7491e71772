"""Sessions, as HAProxy calls open requests and connections: what it says of them is read here. No effects.

A session has an address in memory, which another one may have soon after, and a number that no other one gets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(
    r"^(?P<at>0x\w+): proto=\S+ src=(?P<client>\S+) fe=(?P<frontend>\S+) be=(?P<backend>\S+) srv=(?P<server>\S+) "
    r".* age=(?P<age>\w+) .*"
    r" rp\[f=\w+,i=\d+,an=(?P<left>\w+)h,.* scf=\[\d+,\w+,fd=-?\d+,rex=(?P<awaited>\w*),",
    re.MULTILINE,
)
_NUMBER = re.compile(r" id=(\d+) ")
_SERVER = re.compile(r"^  server=\S+ \(id=\d+\) addr=(\S+)$", re.MULTILINE)
_RECEIVED = re.compile(r"^  req=.* total=(\d+)\)", re.MULTILINE)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_NO_ANSWER_YET = 0x400000  # a bit of what is left to be done about an answer: it is waited for


@dataclass(frozen=True)
class Session:
    """A session in the list of all: where it is in memory, and its client, as ``address:port``.

    It may be waited for more of its body (``is_awaited``), before there is an answer.
    """

    at: str
    client: str
    frontend: str
    backend: str
    server: str
    age_s: int
    is_awaited: bool


def listed(text: str) -> list[Session]:
    """The sessions of the answer to ``show sess``."""
    return [
        Session(
            at=found["at"],
            client=found["client"],
            frontend=found["frontend"],
            backend=found["backend"],
            server=found["server"],
            age_s=sum(
                int(count) * _SECONDS[unit] for count, unit in re.findall(r"(\d+)([dhms])", found["age"])
            ),
            is_awaited=bool(found["awaited"])
            and found["backend"] != "<NONE>"
            and bool(int(found["left"], 16) & _NO_ANSWER_YET),
        )
        for found in _LINE.finditer(text)
    ]


def number(text: str) -> str | None:
    """The number of a session, in the answer to ``show sess`` with its address; None where it has ended."""
    found = _NUMBER.search(text)
    return found[1] if found else None


def server_at(text: str) -> str | None:
    """The address and port of its server, in the same answer; None where it has none or has ended."""
    found = _SERVER.search(text)
    return found[1] if found else None


def received(text: str) -> int:
    """The bytes that have come from its client, in the same answer."""
    found = _RECEIVED.search(text)
    return int(found[1]) if found else 0
