"""Whether packages that are installed meet what is asked for, as pip would decide it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flyteray._plan.spec import InstallSpec

# With these, pip looks for something newer even where the requirement is met.
ANEW = {"-U", "--upgrade", "--force-reinstall", "-I", "--ignore-installed", "--pre"}


class Installed:
    """The packages in some folders; the first of two of one name counts, as in an import.

    Args:
        folders: Such as ``site-packages``.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = list(folders)

    def meets(self, installs: Iterable[InstallSpec]) -> bool:
        """Whether all is there that is asked for, and what that needs in turn."""
        return all(self._meets(install) for install in installs)

    def names(self) -> set[str]:
        """The packages that are there, by their canonical names."""
        return set(self._found)

    def versions(self, names: Iterable[str]) -> list[str]:
        """Some of the packages with their versions."""
        return [f"{self._found[name].name} {self._found[name].version}" for name in sorted(names)]

    def broken(self, name: str) -> list[str]:
        """What a package needs, directly or not, and finds in no version that suits, in words."""
        told: dict[str, None] = {}
        for needs, needed in self._needs(name):
            found = self._found.get(canonicalize_name(needed.name))
            if found is not None and not needed.specifier.contains(found.version, prereleases=True):
                wanted = f"{needed.name}{needed.specifier}"
                told[
                    f"{found.name} {found.version} breaks {needs.name} {needs.version}, which needs {wanted}"
                ] = None
        return list(told)

    def _needs(self, name: str) -> Iterator[tuple[Distribution, Requirement]]:
        """What a package needs in turn, each with whose requirement it is."""
        todo = [(name, "")]
        seen = set(todo)
        while todo:
            name, extra = todo.pop()
            if (found := self._found.get(canonicalize_name(name))) is None:
                continue
            for needed in map(Requirement, found.requires or ()):
                if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
                    continue
                yield found, needed
                for wanted in ("", *needed.extras):
                    if (each := (canonicalize_name(needed.name), wanted)) not in seen:
                        seen.add(each)
                        todo.append(each)

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
        return self._closed(asked, held)

    def _closed(self, asked: list[Requirement], held: dict[str, list[Requirement]]) -> bool:
        todo = [(requirement, "") for requirement in asked]
        seen: set[str] = set()
        while todo:
            requirement, extra = todo.pop()
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            found = self._found.get(name)
            limits = [requirement, *held.get(name, [])]
            if found is None or any(
                limit.url or not limit.specifier.contains(found.version, prereleases=True) for limit in limits
            ):
                return False
            for wanted in ("", *requirement.extras):
                if f"{name}[{wanted}]" not in seen:
                    seen.add(f"{name}[{wanted}]")
                    todo += [(Requirement(line), wanted) for line in found.requires or ()]
        return True


def parsed(line: str) -> Requirement:
    """A line of a requirements file without the options that may follow the requirement."""
    return Requirement(re.split(r"\s--?[a-z]", line, maxsplit=1)[0])
