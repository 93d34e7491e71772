"""The hosts that an ingress answers to where an app asks for no key: those that somebody has named. No effects here.

A page of any site may have its own name lead to this machine (DNS rebinding) and then ask, by the browser of who can
reach it. An address can't be made to lead elsewhere, so all of them are answered to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ANY = "*"


@dataclass(frozen=True)
class Hosts:
    """The names that are answered to, in lower case.

    Args:
        names: Whole names.
        endings: What a name may end in, each with a dot in front.
        any: Whether all names are.
    """

    names: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    any: bool = False

    @classmethod
    def of(cls, machine: str, named: Iterable[str] = ()) -> Hosts:
        """The hosts of a machine with this name, and those that were named: ``*.example.com`` for all below, ``*``."""
        machine = machine.lower()
        first = machine.partition(".")[0]
        own = [each for each in (machine, first, f"{first}.local") if first]
        named = list(named)
        whole = [name for name in named if not name.startswith(ANY)]
        return cls(
            names=tuple(dict.fromkeys(["localhost", *own, *whole])),
            endings=(".localhost", *(name.removeprefix(ANY) for name in named if name.startswith("*."))),
            any=ANY in named,
        )


ALL = Hosts(any=True)  # where it does not matter who asks
