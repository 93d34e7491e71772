"""The links of a task are asked for the address that each of its actions has, where the task is called."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping

from flyteray._declare.facts import ActionID
from flyteray._declare.options.documentation import Link
from flyteray._plan import failure

logger = logging.getLogger(__name__)


def links_of(
    task: str, links: Iterable[Link], action: ActionID, parent: str | None, context: Mapping[str, str]
) -> dict[str, str]:
    """The addresses of the links of an action of a task by their names; ``context`` is its custom context.

    One that can't be made is left out, and a warning says why: the work itself does not depend on it.
    """
    found: dict[str, str] = {}
    for link in links:
        try:
            found[str(link.name)] = str(
                link.get_link(
                    run_name=action.run_name,
                    project=action.project or "",
                    domain=action.domain or "",
                    context=dict(context),
                    parent_action_name=parent or "",
                    action_name=action.name,
                    pod_name=socket.gethostname(),
                )
            )
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            told = failure.describe(error)
            logger.warning("A link of task %r can't be shown: %s\n%s", task, told.summary, told.traceback)
    return found
