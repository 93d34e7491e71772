"""The shipping of user code to a cluster: the options that say what travels, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

CopyStyle = Literal["loaded_modules", "all", "none"]

# Of versions and runs: they are part of names in Ray, in the ingress and in storage.
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Shipping:
    """How code is shipped: checked when it is made, so that a wrong wish is refused before anything starts.

    Attributes:
        copy_style: ``"loaded_modules"``: the module with the modules of yours that it imports, directly or not.
            ``"all"``: every file below the root that no ignore file names. ``"none"``: nothing; the cluster's own
            Python finds the module. What environments ``include`` is shipped with each of them.
        root_dir: The folder that the bundle mirrors. Default: with ``"all"`` the folder that the module is imported
            from, else every module is placed by its name.
        interactive: Pickle what is shipped by value (True), never (False), or where nothing else can work (None):
            it was defined at a prompt, in a notebook or inside a function.
        copy_bundle_to: A folder to put a copy of the bundle in, for people to look at.
        version: What this state of the code is called: tasks see it as ``ctx().version``, apps are deployed anew with
            another one. At most 63 letters, digits, ``.``, ``_`` and ``-``. Default: the hash of what is shipped; so
            it is needed with ``"none"``.

    Raises:
        ValueError: no such copy style, ``"custom"`` (of Flyte's command line alone), ``"none"`` without a version or
            with ``interactive``, a ``root_dir`` that is no folder, or a version of other characters.
    """

    copy_style: CopyStyle = "loaded_modules"
    root_dir: Path | None = None
    interactive: bool | None = None
    copy_bundle_to: Path | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        if self.copy_style not in get_args(CopyStyle):
            raise ValueError(
                f"copy_style must be one of {', '.join(map(repr, get_args(CopyStyle)))}, not {self.copy_style!r}."
            )
        if self.copy_style == "none" and not self.version:
            raise ValueError(
                "Version is required when copy_style is 'none': nothing else tells the cluster's code of today from "
                'that of tomorrow. Give one, as in version="v1".'
            )
        if self.copy_style == "none" and self.interactive:
            raise ValueError('interactive_mode ships a pickle, and copy_style="none" ships nothing: say one.')
        named = isinstance(self.version, str) and PLAIN_NAME.fullmatch(self.version)
        if self.version is not None and not named:
            raise ValueError(
                f"{self.version!r} can't be a version's name: use at most 63 letters, digits, '.', '_' and '-', a "
                "letter or digit first."
            )
        for name in ("root_dir", "copy_bundle_to"):
            folder = getattr(self, name)
            if folder is not None:
                object.__setattr__(self, name, Path(folder).expanduser().absolute())
        if self.root_dir is not None and not self.root_dir.is_dir():
            raise ValueError(f"root_dir {str(self.root_dir)!r} is no folder.")


SHIPPING = Shipping()  # what is shipped where nothing is said
