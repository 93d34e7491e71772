"""``flyte`` in programs that are started by a process in which that name means flyteray."""

from flyteray._plan.bundle import alias

alias.found_instead()
