"""Manifests list Python packages, and become what pip is told: requirements files, scripts' heads, projects, locks."""

from __future__ import annotations

import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from flyteray.errors import ImageBuildError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_COMMENT = re.compile(r"(^|\s+)#.*$")


@dataclass(frozen=True)
class Wanted:
    """The lines of a requirements file and of a constraints file; ``python`` is asked for where it is another."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    python: str | None = None


def requirements_file(file: Path) -> Wanted:
    """A requirements file with the files that it refers to; paths in it become absolute.

    FileNotFoundError where one of them is missing, ImageBuildError where one asks for an editable install.
    """
    requirements: list[str] = []
    constraints: list[str] = []
    for line in _logical_lines(file):
        option, argument = _option(line)
        if option in ("-r", "--requirement"):
            nested = requirements_file(file.parent / argument)
            requirements += nested.requirements
            constraints += nested.constraints
        elif option in ("-c", "--constraint"):
            constraints += _logical_lines(file.parent / argument)
        elif option in ("-e", "--editable"):
            raise ImageBuildError(
                f"{file} asks for an editable install ({line}). Your own modules travel with the code: leave it out."
            )
        elif option in ("-f", "--find-links") and not argument.startswith("$") and "://" not in argument:
            requirements.append(f"--find-links {(file.parent / argument).resolve()}")
        elif line.startswith(("./", "../")):
            requirements.append(str((file.parent / line).resolve()))
        else:
            requirements.append(line)
    return Wanted(tuple(requirements), tuple(constraints))


def script_head(script: Path, head: str) -> Wanted:
    """What the TOML in a script's head asks for; fails as :func:`uv_project` does."""
    table = _toml(script, head)
    lines = _with_sources(script, table.get("dependencies", []), table.get("tool", {}).get("uv", {}))
    return Wanted(tuple(lines), python=_other_python(script, table.get("requires-python")))


def uv_project(pyproject: Path, lock: Path | None) -> Wanted:
    """The dependencies of a project, held to the versions of its ``uv.lock``.

    ValueError where a file is no TOML, or requires a Python that is none; ImageBuildError for a source that pip can't
    use.
    """
    table = _toml(pyproject, pyproject.read_text())
    project = table.get("project", {})
    lines = _with_sources(pyproject, project.get("dependencies", []), table.get("tool", {}).get("uv", {}))
    return Wanted(tuple(lines), _locked(lock), _other_python(pyproject, project.get("requires-python")))


def poetry_project(pyproject: Path, lock: Path) -> Wanted:
    """The same of a poetry project, whose dependencies may be told in poetry's own words.

    ValueError where a file is no TOML, ImageBuildError for a source that pip can't use.
    """
    table = _toml(pyproject, pyproject.read_text())
    lines = list(table.get("project", {}).get("dependencies", []))
    named = {_name(line) for line in lines}
    told = table.get("tool", {}).get("poetry", {}).get("dependencies", {})
    for name, value in told.items():
        if name == "python" or _name(name) in named:
            continue
        for each in value if isinstance(value, list) else [value]:
            source = each if isinstance(each, dict) else {}
            if not source.get("optional"):
                extras = ",".join(source.get("extras", []))
                requirement = f"{name}[{extras}]" if extras else name
                marker = f"; {source['markers']}" if "markers" in source else ""
                lines.append(_from_source(pyproject, requirement, source) + marker)
    return Wanted(tuple(lines), _locked(lock))


def _locked(lock: Path | None) -> tuple[str, ...]:
    """The versions of a lock file; packages that it has in several versions for several machines are left open."""
    if lock is None:
        return ()
    versions: dict[str, set[str]] = defaultdict(set)
    for package in _toml(lock, lock.read_text()).get("package", []):
        source = package.get("source", {})
        elsewhere = {"virtual", "editable", "directory", "path", "git", "url"} & {*source, source.get("type")}
        if "version" in package and not elsewhere:
            versions[package["name"]].add(package["version"])
    return tuple(f"{name}=={found.pop()}" for name, found in sorted(versions.items()) if len(found) == 1)


def _with_sources(file: Path, dependencies: list[str], uv: dict[str, Any]) -> Iterator[str]:
    """The dependencies, with uv's own words on where they come from."""
    for index in uv.get("index", []):
        if not index.get("explicit"):
            yield f"{'--index-url' if index.get('default') else '--extra-index-url'} {index['url']}"
    if "index-url" in uv:
        yield f"--index-url {uv['index-url']}"
    for url in uv.get("extra-index-url", []):
        yield f"--extra-index-url {url}"
    sources = {_name(name): source for name, source in uv.get("sources", {}).items()}
    for line in dependencies:
        requirement, _, marker = line.partition(";")
        source = sources.get(_name(line))
        if source is None:
            yield line
        elif not isinstance(source, dict):
            raise ImageBuildError(f"{file}: {_name(line)} has several sources, which pip can't choose from.")
        else:
            bare = re.split(r"[<>=!~ (]", requirement.strip())[0]
            yield _from_source(file, bare, source) + (f" ;{marker}" if marker else "")


def _from_source(file: Path, requirement: str, source: dict[str, Any]) -> str:
    if "git" in source:
        at = next((source[key] for key in ("rev", "tag", "branch") if key in source), None)
        folder = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
        return f"{requirement} @ git+{source['git']}{f'@{at}' if at else ''}{folder}"
    if "url" in source:
        return f"{requirement} @ {source['url']}"
    if "path" in source:
        return f"{requirement} @ {(file.parent / source['path']).resolve().as_uri()}"
    if unknown := {"index", "workspace", "source"} & source.keys():
        raise ImageBuildError(
            f"{file}: {requirement} comes from a {unknown.pop()}, which pip knows nothing of. Name a git, url or path "
            "source, or give its index as index_url."
        )
    return requirement


def _other_python(file: Path, wanted: str | None) -> str | None:
    """The Python that a file requires, where that is none that is here."""
    here = ".".join(str(part) for part in sys.version_info[:3])
    try:
        suits = wanted is None or SpecifierSet(wanted).contains(here, prereleases=True)
    except InvalidSpecifier as error:
        raise ValueError(f"{file}: requires-python is {wanted!r}, which is no version range.") from error
    return None if suits else wanted


def _logical_lines(file: Path) -> Iterator[str]:
    if not file.is_file():
        raise FileNotFoundError(f"Requirements file {file.absolute()} does not exist.")
    for line in file.read_text().replace("\\\n", " ").splitlines():
        if text := _COMMENT.sub("", line).strip():
            yield text


def _option(line: str) -> tuple[str, str]:
    if not line.startswith("-"):
        return "", ""
    words = shlex.split(line.replace("=", " ", 1) if line.startswith("--") else line)
    return words[0], words[1] if len(words) > 1 else ""


def _name(requirement: str) -> str:
    found = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def _toml(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is no TOML: {error}.") from error
