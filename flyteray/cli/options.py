"""The options that commands of Flyte have alike: they are taken here as they are there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import rich_click as click

from flyteray._declare.facts import Owner
from flyteray._declare.near import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "json", "table-simple", "json-raw")
FORMAT = "flyteray.format"  # in the context's meta: what results are to be printed as
_OWNER = "flyteray.owner"  # there as well: whose what is started is to be
_LEVELS = (None, logging.WARNING, logging.INFO, logging.DEBUG)  # by the number of -v


class Nouns(click.RichGroup):
    """A group that knows what there is instead of the commands which Flyte has and it has not.

    Args:
        elsewhere: What to use, by the name of each.
    """

    def __init__(
        self, *args: Any, elsewhere: Mapping[str, str] = MappingProxyType({}), **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self._elsewhere = elsewhere

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is asked for."""
        name = args[0] if args else ""
        if name in self._elsewhere:
            ctx.fail(f"`{ctx.command_path}` has no {name!r}. {self._elsewhere[name]}")
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            known = self.list_commands(ctx)
            hint = did_you_mean(name, known) or f" There are: {', '.join(known)}."
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


def keep_format(ctx: click.Context, _: click.Parameter, given: str | None) -> None:
    """Keep the form of results, where one was given, for the verb that prints them."""
    if given is not None:
        ctx.meta[FORMAT] = given


def accepted(*names: str, instead: str = "", **settings: Any) -> Callable[[F], F]:
    """An option that means nothing on Ray: whoever gives it is told so, and ``instead`` what there is."""
    callback = _saying(names[-1], instead)
    return click.option(*names, expose_value=False, hidden=True, callback=callback, **settings)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in their order."""

    def decorate(command: F) -> F:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


def with_owner(command: click.Command, heard: bool) -> None:
    """Have a command, or all of a group, take ``-p/--project`` and ``-d/--domain``.

    Those that start something are ``heard``: what they start finds its owner in ``flyteray.current_project()`` and
    ``ctx()``. All others see what is there, whoever has started it.
    """
    for each in list(_leaves(command)):
        if not any("--project" in param.opts for param in each.params):
            each.params += [
                _owner(letter, name, heard) for letter, name in (("-p", "project"), ("-d", "domain"))
            ]


def owner(ctx: click.Context) -> Owner:
    """The project, the domain and the organisation that were given."""
    return Owner(**ctx.meta.get(_OWNER, {}), org=ctx.find_root().params.get("org"))


def log_levels(ctx: click.Context) -> None:
    """Have this process log as the options before the verb say."""
    said = ctx.find_root().params
    levels = {name: said.get(name) for name in ("user_log_level", "log_format", "reset_root_logger")}
    level = said.get("log_level") or _LEVELS[min(said.get("verbose") or 0, len(_LEVELS) - 1)]
    if level is None and not any(levels.values()):
        return
    from flyteray import _logging  # deferred: the help does not log

    try:
        numbers = {
            name: None if given is None else _logging.level(f"--{name.replace('_', '-')}", given)
            for name, given in (("log_level", level), ("user_log_level", levels["user_log_level"]))
        }
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _logging.configure(
        log_level=numbers["log_level"],
        user_log_level=numbers["user_log_level"],
        log_format=levels["log_format"],
        reset_root_logger=bool(levels["reset_root_logger"]),
    )


def is_verbose() -> bool:
    """Whether whole tracebacks are asked for."""
    return bool(_said("verbose"))


def shows_progress() -> bool:
    """Whether a terminal shows that something goes on."""
    return not _said("no_progress")


def _said(name: str) -> Any:
    ctx = click.get_current_context(silent=True)
    return None if ctx is None else ctx.find_root().params.get(name)


def _leaves(command: click.Command) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _leaves(each)
    else:
        yield command


def _owner(letter: str, name: str, heard: bool) -> click.Parameter:
    def keep(ctx: click.Context, param: click.Parameter, given: str | None) -> None:
        if given is not None:
            ctx.meta[_OWNER] = {**ctx.meta.get(_OWNER, {}), name: given}

    if heard:
        told = f"What flyteray.current_{name}() tells what is started; Ray itself has no {name}s."
        return click.RichOption([letter, f"--{name}"], expose_value=False, callback=keep, help=told)

    callback = _saying(f"--{name}", f"All {name}s are one here.")
    return click.RichOption([letter, f"--{name}"], expose_value=False, callback=callback, hidden=True)


def _saying(option: str, instead: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def say(ctx: click.Context, param: click.Parameter, given: Any) -> None:
        if given and not ctx.resilient_parsing:
            click.echo(f"{option} has no meaning on Ray and changes nothing. {instead}".strip(), err=True)

    return say
