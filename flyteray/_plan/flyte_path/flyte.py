"""Stands for ``flyte`` in programs that a process starts in which that name means flyteray."""

from flyteray._plan import alias

alias.found_instead()
