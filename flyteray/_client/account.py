"""Projects and users of Flyte's service: on a Ray cluster there is one of each, and nobody has to be told of it."""

from __future__ import annotations

import dataclasses
import getpass
import os
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from flyteray._client.bridge import ListVerb, MethodVerb, Verb
from flyteray._client.session.owner import owner
from flyteray._declare.environment import without_meaning
from flyteray._handles import AsJson
from flyteray._public import refused

_ALONE = "default"  # the name where nobody has said one


@dataclass(frozen=True)
class Project(AsJson):
    """The project of a cluster: Ray has none, so all is in one, of the name that ``flyteray.init`` was told.

    Attributes:
        id: Its name.
        name: Its name, too.
        description: What it is, for people.
        labels: None here.
    """

    id: str
    name: str
    description: str = "All that is on this cluster"
    labels: dict[str, str] = field(default_factory=dict)

    @staticmethod
    @Verb
    async def get(name: str) -> Project:
        """The project; ValueError for another name than ``init(project=...)`` was told, or ``"default"``."""
        this = _this()
        if name != this.name:
            raise ValueError(
                f"There is no project {name!r}: Ray has no projects. All is in one, which is called {this.name!r} "
                "here; flyteray.init(project=...) says another name."
            )
        return this

    @staticmethod
    @ListVerb
    async def listall(
        filters: str | None = None,
        sort_by: tuple[str, Literal["asc", "desc"]] | None = None,
        archived: bool = False,
    ) -> list[Project]:
        """The one project, or none of those that are ``archived``; ``filters`` and ``sort_by`` mean nothing here."""
        for option, given in {"filters": filters, "sort_by": sort_by}.items():
            if given is not None:
                without_meaning("Project.listall", option)
        return [] if archived else [_this()]

    @staticmethod
    @Verb
    async def create(
        id: str, name: str, description: str = "", labels: dict[str, str] | None = None
    ) -> Project:
        """Raise NotImplementedError: Ray has no projects."""
        _refuse("create")

    @staticmethod
    @Verb
    async def update(
        id: str,
        name: str | None = None,
        description: str | None = None,
        labels: dict[str, str] | None = None,
        state: Literal["archived", "active"] | None = None,
    ) -> Project:
        """Raise NotImplementedError: Ray has no projects."""
        _refuse("update")

    @MethodVerb
    async def archive(self) -> Project:
        """Raise NotImplementedError: Ray has no projects."""
        _refuse("archive")

    @MethodVerb
    async def unarchive(self) -> Project:
        """Raise NotImplementedError: Ray has no projects."""
        _refuse("unarchive")

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class User(AsJson):
    """The user of this process: clusters of Ray know none, so it is that of the machine."""

    login: str

    @staticmethod
    @Verb
    async def get() -> User:
        """Who runs this process."""
        try:
            return User(getpass.getuser())
        except (KeyError, OSError):  # containers run as numbers that have no name
            return User(str(os.getuid()))

    def name(self) -> str:
        """The name that it has on this machine."""
        return self.login

    def subject(self) -> str:
        """The name that it has on this machine, too."""
        return self.login

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {"name": self.login, "subject": self.login}


def _this() -> Project:
    name = owner().project or _ALONE
    return Project(name, name)


def _refuse(verb: str) -> NoReturn:
    raise refused(
        f"flyteray.remote.Project.{verb}",
        "Ray has no projects. Tell runs apart by labels, as with_runcontext(labels=...) gives and "
        "Run.listall(with_labels=...) finds them, or use a cluster for each.",
    )
