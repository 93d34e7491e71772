"""An environment says where and with what user code runs; tasks and apps have kinds of their own."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flyteray._declare.env_vars import checked_env_vars
from flyteray._declare.images.image import Image
from flyteray._declare.near import did_you_mean
from flyteray._declare.options.documentation import shortened
from flyteray._declare.options.pod import PodTemplate
from flyteray._declare.resources import Resources
from flyteray._declare.secret import Secret, SecretRequest, as_secrets
from flyteray._version import HOUSE

_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")

E = TypeVar("E", bound="Environment")


@dataclass(eq=False)
class Environment:
    """Where and with what user code runs: the common part of task and app environments.

    Args:
        name: Lower-case words joined by single ``-`` or ``_``.
        depends_on: Environments that are needed by this one.
        pod_template: Of Kubernetes: means nothing on Ray, and says so. ``flyteray export kuberay`` gives its labels and
            annotations to the pods.
        description: For people; more than 255 characters are cut off.
        secrets: What it is given in secret: a key, a :class:`Secret` or a list of them.
        env_vars: Environment variables of the processes that run it, there before Python is, exactly as written.
        resources: Hardware; see :class:`Resources` for the defaults.
        interruptible: May run on nodes that can vanish. Ray knows no such nodes, so this changes nothing.
        image: What it finds installed: an :class:`Image`, the URI of a container, or ``"auto"``, which is what the
            cluster has. Local runs of tasks happen in the calling process and find what that has.
        include: Paths or globs, relative to the file that declares the environment, shipped with the code.
        service_account: Of Kubernetes: means nothing on Ray, and says so. ``flyteray export kuberay`` gives it to the
            pods.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: A bad name.
    """

    name: str
    depends_on: list[Environment] = field(default_factory=list)
    pod_template: str | PodTemplate | None = None
    description: str | None = None
    secrets: SecretRequest | None = None
    env_vars: dict[str, str] | None = None
    resources: Resources | None = None
    interruptible: bool = False
    image: str | Image | None = "auto"
    include: tuple[str, ...] = ()
    service_account: str | None = None
    _declaring_file: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._declaring_file = _caller()
        self._check_name()
        self._check_depends_on()
        self._expect("resources", Resources | None, "a Resources")
        if self.env_vars is not None:
            self.env_vars = checked_env_vars(self._words(), self.env_vars)
        self._expect("image", Image | str | None, "an Image or a str")
        self._expect("description", str | None, "a str")
        self.description = self.description and shortened(self.description)
        as_secrets(self._words(), self.secrets)
        self.include = _globs(self._words(), self.include)
        self._expect("pod_template", PodTemplate | str | None, "a PodTemplate or the name of one")
        self._expect("service_account", str | None, "a str")
        for option in ("pod_template", "service_account"):
            if getattr(self, option) is not None:
                without_meaning(self._words(), option)

    def secret_list(self) -> list[Secret]:
        """The secrets it asks for."""
        return as_secrets(self._words(), self.secrets)

    def _words(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    def _expect(self, name: str, kinds: Any, words: str) -> None:
        if not isinstance(getattr(self, name), kinds):
            raise TypeError(f"{self._words()}: {name} must be {words}, got {getattr(self, name)!r}.")

    def _check_name(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"An environment's name must be a str, got {self.name!r}.")
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name for an environment: "
                "use lower-case letters and digits, in words joined by single - or _."
            )

    def _check_depends_on(self) -> None:
        self._expect("depends_on", list | tuple, "a list")
        wanted, self.depends_on = self.depends_on, []
        self.add_dependency(*wanted)

    def add_dependency(self, *envs: Environment) -> None:
        """Add environments that are needed by this one; those it has already are ignored.

        Raises:
            TypeError: One of them is no environment.
            ValueError: One of them has this environment's name.
        """
        for env in envs:
            if not isinstance(env, Environment):
                raise TypeError(f"{self._words()} can depend on environments only, got {env!r}.")
            if env.name == self.name:
                raise ValueError(f"{self._words()} can't depend on an environment of its own name.")
        for env in envs:
            if all(each is not env for each in self.depends_on):  # another of that name is refused in a plan
                self.depends_on.append(env)

    def clone_with(
        self: E,
        name: str,
        image: str | Image | None = None,
        resources: Resources | None = None,
        env_vars: dict[str, str] | None = None,
        secrets: SecretRequest | None = None,
        depends_on: list[Environment] | None = None,
        description: str | None = None,
        interruptible: bool | None = None,
        include: tuple[str, ...] | None = None,
        service_account: str | None = None,
        **changes: Any,
    ) -> E:
        """A new environment like this one under another name, without its tasks or server functions.

        Relative paths in it mean what they mean in this one; a new ``include`` is relative to the file that clones.

        Args:
            name: The new name.
            image, resources, env_vars, secrets, depends_on, description, interruptible, include, service_account: As of
                an environment; None keeps what is there.
            changes: Any other field of this kind of environment.

        Raises:
            TypeError: There is no such field.
        """
        names = {item.name for item in dataclasses.fields(self) if item.init}
        if unknown := sorted(changes.keys() - names):
            raise TypeError(
                f"Unexpected keyword arguments: {unknown}. {type(self).__name__} has: {sorted(names)}."
                f"{did_you_mean(unknown[0], names)}"
            )
        given = {
            "image": image,
            "resources": resources,
            "env_vars": env_vars,
            "secrets": secrets,
            "depends_on": depends_on,
            "description": description,
            "interruptible": interruptible,
            "include": include,
            "service_account": service_account,
            **changes,
        }
        values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        clone = dataclasses.replace(self, name=name, **values)
        if "include" not in values:
            clone._declaring_file = self._declaring_file
        return clone

    def __repr__(self) -> str:
        shown = [f"name={self.name!r}"]
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            default = item.default_factory() if callable(item.default_factory) else item.default
            if item.name == "depends_on":
                value = [env.name for env in self.depends_on]  # names: environments may depend on each other
            if item.init and item.repr and item.name != "name" and value != default:
                shown.append(f"{item.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def without_meaning(owner: str, option: str) -> None:
    """Say that an option of Flyte means nothing on Ray."""
    warn_user(f"{owner}: {option} has no meaning on Ray and changes nothing.")


def warn_user(text: str) -> None:
    """Warn at the line of the user's code that declares something."""
    _, level = _users_frame()
    warnings.warn(text, UserWarning, stacklevel=level + 1)


def _globs(owner: str, include: object) -> tuple[str, ...]:
    if isinstance(include, str):
        raise TypeError(f"{owner}: include must be a tuple of paths, not one str: write ({include!r},).")
    if not isinstance(include, Iterable):
        raise TypeError(f"{owner}: include must be a tuple of paths, got {include!r}.")
    globs = tuple(include)
    for each in globs:
        if not isinstance(each, str):
            raise TypeError(f"{owner}: include must hold str paths, got {each!r}.")
    return globs


def _caller() -> str | None:
    """The file that user code is in, unless that is an interactive session."""
    name, _ = _users_frame()
    return os.path.abspath(name) if name and not name.startswith("<") else None


def _users_frame() -> tuple[str | None, int]:
    """The file of the first frame outside flyteray and the dataclass machinery, and how far above the caller it is."""
    ours = f"{HOUSE}{os.sep}", "<string>", dataclasses.__file__
    frame, level = sys._getframe(1).f_back, 1
    while frame is not None and frame.f_code.co_filename.startswith(ours):
        frame, level = frame.f_back, level + 1
    return (frame.f_code.co_filename if frame else None), level
