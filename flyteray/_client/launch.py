"""The options that runs and apps have in common when they are launched: where, with which code, logs and variables."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal

from flyteray._declare import context
from flyteray._plan.bundle.shipping import CopyStyle, Shipping
from flyteray.app import context as app_context

Mode = Literal["local", "remote"]


@dataclass(frozen=True)
class LaunchContext:
    """How to run or to serve; ``RunContext`` and ``ServeContext`` explain what the options mean for them."""

    mode: Mode | None = None
    _: KW_ONLY
    version: str | None = None
    copy_style: CopyStyle = "loaded_modules"
    root_dir: str | Path | None = None
    dry_run: bool = False
    project: str | None = None
    domain: str | None = None
    env_vars: dict[str, str] | None = None
    log_level: int | str | None = None
    log_format: Literal["console", "json"] = "console"
    user_log_level: int | str | None = None
    interactive_mode: bool | None = None
    copy_bundle_to: str | Path | None = None
    raw_data_path: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in (None, "local", "remote"):
            raise ValueError(f'mode must be "local" or "remote", not {self.mode!r}.')
        self._shipping()  # it checks its options

    @property
    def is_local(self) -> bool:
        """Whether it runs without a cluster: as was said, or inside a local run or app."""
        around = (context.ctx().mode, app_context.ctx().mode)
        return self.mode == "local" or (self.mode is None and "local" in around)

    def _shipping(self) -> Shipping:
        return Shipping(
            copy_style=self.copy_style,
            root_dir=Path(self.root_dir) if self.root_dir else None,
            interactive=self.interactive_mode,
            copy_bundle_to=Path(self.copy_bundle_to) if self.copy_bundle_to else None,
            version=self.version,
        )

    def _log_variables(self) -> dict[str, str]:
        variables = {
            "LOG_LEVEL": self.log_level,
            "LOG_FORMAT": None if self.log_format == "console" else self.log_format,
            "USER_LOG_LEVEL": self.user_log_level,
        }
        return {name: str(value) for name, value in variables.items() if value is not None}
