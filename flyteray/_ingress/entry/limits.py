"""Limits of an app, and of the crowd at each of its replicas, as HAProxy takes them apart. No effects here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """What an app takes at most of a request; 0 stands for no limit.

    Args:
        rate: Requests per second of a key, or of an address without one.
        body: Bytes of a body.
        headers: Bytes of the headers.
    """

    rate: int = 0
    body: int = 0
    headers: int = 0

    def text(self) -> str:
        """What it says in a map."""
        return f"{self.rate}/{self.body}/{self.headers}"

    @classmethod
    def read(cls, text: str) -> Limit:
        """The limit of a text."""
        return cls(*map(int, text.split("/")))


@dataclass(frozen=True)
class Crowd:
    """How many requests a replica works on at one time, and how many more may wait for each."""

    most: int
    queue: int

    def text(self) -> str:
        """What it says in a map."""
        return f"{self.most}/{self.queue}"

    @classmethod
    def read(cls, text: str) -> Crowd:
        """The crowd of a text."""
        return cls(*map(int, text.split("/")))
