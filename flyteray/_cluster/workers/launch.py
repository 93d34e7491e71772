"""A process of the cluster that runs user code is started with its image, its variables and its threads.

Ray starts a process by the command that a ``runtime_env`` names (``py_executable``). The one here looks for the image
and the variables on its node's disk and turns into the process, so that all of it is there before Python is.
"""

from __future__ import annotations

import functools
import math
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from flyteray._plan.spec import NO_IMAGE, EnvironmentSpec, Start

_OUTSIDE = "FLYTERAY_PYTHON"  # in a process that was started so: the cluster's own Python
_THREADS = "FLYTERAY_THREADS"  # in such a process: "free" where nobody has limited its threads
OMP = "OMP_NUM_THREADS"  # which Ray sets where it is not set, to 1 where no CPUs are asked for


# Bash executes this on the node in place of Ray's Python. Usually a few looks at the disk; a node that has joined since
# builds the image, or fetches the variables. Its own names are in nobody's environment, which they would change.
_PYTHON = """\
fr_python={python}; test -x "$fr_python" || fr_python="$(command -v python3)"
fr_run="$fr_python"; fr_temp="${{FLYTERAY_CACHE:-${{TMPDIR:-/tmp}}}}"; export {mark}="$fr_python"
fr_rays="${{VIRTUAL_ENV-}}"
"""
_IMAGE = """\
fr_image="${{FLYTERAY_HOME:+$FLYTERAY_HOME/images}}"
fr_image="${{fr_image:-$fr_temp/flyteray-images-$(id -u)}}/{key}"
if test -x "$fr_image/bin/python"; then fr_image="$(readlink -f "$fr_image")"
else fr_image="$("$fr_python" -m flyteray._cluster.images.venv {text})" || exit 1; fi
export PATH="$fr_image/bin:$PATH" VIRTUAL_ENV="$fr_image"; fr_run="$fr_image/bin/python"
"""
# A plain Ray task inherits this command beside what it asks for itself; Ray has activated its packages then.
_RAYS = """\
case "$fr_rays" in */runtime_resources/*)
export PATH="$fr_rays/bin:$PATH" VIRTUAL_ENV="$fr_rays"; fr_run="$fr_rays/bin/python";;
esac
"""
_FREE = """\
test -n "${OMP_NUM_THREADS-}" || export FLYTERAY_THREADS=free OMP_NUM_THREADS="$(nproc)"
"""
_VARIABLES = """\
fr_file="$fr_temp/flyteray-variables-$(id -u)/{key}"
test -r "$fr_file" || "$fr_python" -m flyteray._cluster.workers.variables {key} "$@" || exit 1
exec "$fr_python" -X utf8 -I -S -c {program} "$fr_file" "$fr_run" "$@"
"""
_NO_VARIABLES = 'exec "$fr_run" "$@"\n'

# In Python, for a shell has names of its own that it lets nobody set.
_PROGRAM = """\
import json, os, sys
with open(sys.argv[1]) as file:
    variables = json.load(file)
os.execvpe(sys.argv[2], sys.argv[2:], {**os.environ, **variables})
"""


def runtime_env(identity: str, start: Start, variables: str | None, threads: int) -> dict[str, Any]:
    """The ``runtime_env`` of a kind of process; nothing of it is inherited from the process that asks for one.

    Args:
        identity: A text that keeps its processes apart from others.
        start: How its image is started.
        variables: The key of its environment variables; None for none.
        threads: As :func:`threads_of` has it.
    """
    told: dict[str, Any] = {"env_vars": {"FLYTERAY_CODE": identity}}
    if start.container:
        return told | {"image_uri": start.container}
    if start == NO_IMAGE and variables is None and threads and _OUTSIDE not in os.environ:
        return told
    return told | {"py_executable": command(start, variables, threads)}


def command(start: Start = NO_IMAGE, variables: str | None = None, threads: int = 1) -> str:
    """The command that starts a Ray worker, for ``py_executable``; arguments as in :func:`runtime_env`."""
    python = shlex.quote(os.environ.get(_OUTSIDE, sys.executable))
    script = _PYTHON.format(python=python, mark=_OUTSIDE)
    if start.key:
        script += _IMAGE.format(key=start.key, text=start.text)
    script += _RAYS
    if not threads:
        script += _FREE
    if variables is None:
        script += _NO_VARIABLES
    else:
        script += _VARIABLES.format(key=variables, program=shlex.quote(_PROGRAM))
    return f"sh -c {shlex.quote(script)} flyteray"


def threads_of(environment: EnvironmentSpec) -> int:
    """The number of threads that libraries may start by themselves: one for each CPU; 0 is without a limit.

    There is a limit only where CPUs are asked for. Libraries ask once, when they are imported, so a process that has
    served one number is not given to another.
    """
    return max(1, math.floor(environment.num_cpus)) if environment.num_cpus else 0


def settle(variables: Mapping[str, str]) -> None:
    """Give this process its declared variables, as far as Ray has changed them or could not be told of them before."""
    if _is_free():
        os.environ.pop(OMP, None)  # Ray's word from now on; libraries then ask the machine
    for name, value in variables.items():
        if os.environ.get(name) != value:  # to set one is slow
            os.environ[name] = value


@functools.cache
def _is_free() -> bool:
    """Whether this process was started without a limit of its threads; asked once, as it is slow to find nothing."""
    return os.environ.get(_THREADS) == "free"


def tell_threads(threads: str | None) -> None:
    """Tell libraries that are not loaded yet how many threads they may start; None: they ask the machine."""
    if threads is None:
        os.environ.pop(OMP, None)
    else:
        os.environ[OMP] = threads
