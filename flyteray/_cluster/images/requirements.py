"""The installed packages meet requirements or don't, as pip would decide it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flyteray._plan.spec import InstallSpec

# With these, pip looks for something newer even where the requirement is met.
ANEW = {"-U", "--upgrade", "--force-reinstall", "-I", "--ignore-installed", "--pre"}


class _Need(NamedTuple):
    by: Distribution | None  # None where it is asked for itself
    needed: Requirement
    found: Distribution | None


class Installed:
    """The packages in folders such as ``site-packages``; the first of two of one name counts, as in an import."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = list(folders)

    def meets(self, installs: Iterable[InstallSpec]) -> bool:
        """Whether all packages that are asked for are there, and all that they need in turn."""
        return all(self._meets(install) for install in installs)

    def names(self) -> set[str]:
        """The packages that are there, by their canonical names."""
        return set(self._found)

    def versions(self, names: Iterable[str]) -> list[str]:
        """Some of the packages with their versions."""
        return [f"{self._found[name].name} {self._found[name].version}" for name in sorted(names)]

    def broken(self, name: str) -> list[str]:
        """The needs of a package, direct or not, for which another version is there than suits, in words."""
        told: dict[str, None] = {}
        for needs, needed, found in self._needs([Requirement(name)]):
            if needs and found and not needed.specifier.contains(found.version, prereleases=True):
                wanted = f"{needed.name}{needed.specifier}"
                told[
                    f"{found.name} {found.version} breaks {needs.name} {needs.version}, which needs {wanted}"
                ] = None
        return list(told)

    def _needs(self, asked: Iterable[Requirement]) -> Iterator[_Need]:
        """The requirements that are asked for, and those that they have in turn."""
        todo: list[tuple[Distribution | None, Iterable[Requirement], str]] = [(None, asked, "")]
        seen: set[tuple[str, str]] = set()
        while todo:
            needs, requirements, extra = todo.pop()
            for needed in requirements:
                if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
                    continue
                name = canonicalize_name(needed.name)
                found = self._found.get(name)
                yield _Need(needs, needed, found)
                for wanted in ("", *needed.extras):
                    if found is not None and (name, wanted) not in seen:
                        seen.add((name, wanted))
                        todo.append((found, map(Requirement, found.requires or ()), wanted))

    @functools.cached_property
    def _found(self) -> dict[str, Distribution]:
        found: dict[str, Distribution] = {}
        for distribution in distributions(path=self._folders):
            if name := distribution.metadata["Name"]:
                found.setdefault(canonicalize_name(name), distribution)
        return found

    def _meets(self, install: InstallSpec) -> bool:
        words = {word for line in (*install.options, *install.requirements) for word in line.split()[:1]}
        if words & ANEW:
            return False
        try:
            asked = [parsed(line) for line in install.requirements if not line.startswith("-")]
            limits = [parsed(line) for line in install.constraints if not line.startswith("-")]
        except InvalidRequirement:
            return False  # a path, or a mistake that pip has better words for
        held: dict[str, list[Requirement]] = {}
        for limit in limits:
            if limit.marker is None or limit.marker.evaluate():
                held.setdefault(canonicalize_name(limit.name), []).append(limit)
        return all(
            found is not None and not limit.url and limit.specifier.contains(found.version, prereleases=True)
            for _, needed, found in self._needs(asked)
            for limit in (needed, *held.get(canonicalize_name(needed.name), ()))
        )


def parsed(line: str) -> Requirement:
    """A line of a requirements file without the options that may follow the requirement."""
    return Requirement(re.split(r"\s--?[a-z]", line, maxsplit=1)[0])
