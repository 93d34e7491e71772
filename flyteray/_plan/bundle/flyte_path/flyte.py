"""Stands for ``flyte`` in programs that a process starts in which that name means flyteray."""

from flyteray._plan.bundle import alias

alias.found_instead()
