"""``flyteray.remote.Trigger`` is a trigger on a cluster: made, looked up, switched on and off, deleted."""

from __future__ import annotations

from flyteray._client.bridge import ListVerb, MethodVerb, Verb, not_while_loading
from flyteray._client.credentials.caller_secrets import take_secrets
from flyteray._client.session.owner import without_projects
from flyteray._client.session.session import session
from flyteray._client.triggers.declared import by_name
from flyteray._client.triggers.details import TriggerDetails
from flyteray._declare.options.trigger import Trigger as DeclaredTrigger


class Trigger(TriggerDetails):
    """A trigger on a cluster. Give it to :func:`flyteray.run` to start a run of it now."""

    @staticmethod
    @Verb
    @not_while_loading("Trigger.create")
    async def create(trigger: DeclaredTrigger, task_name: str, task_version: str | None = None) -> Trigger:
        """Keep a trigger for a deployed task; one of that name is replaced.

        Args:
            trigger: What ``flyteray.Trigger(...)`` made.
            task_name: The full name, ``<environment>.<function>``.
            task_version: Run this version. Default: the one that was deployed last when it fires.

        Raises:
            RemoteTaskNotFoundError: There is no such task or version.
            TypeError: Not a trigger, or an input that the task has not.
            ValueError: A required input is missing, or the inputs are too large.
        """
        if not isinstance(trigger, DeclaredTrigger):
            raise TypeError(f"Trigger.create needs a flyteray.Trigger(...), got {trigger!r}.")
        plan = (await session().controller.tasks.get(task_name, task_version)).plan
        planned = by_name(trigger, plan, newest=task_version is None)
        await take_secrets([plan.spec.environment])
        return Trigger(await session().controller.triggers.create(*planned))

    @staticmethod
    @Verb
    async def get(*, name: str, task_name: str) -> Trigger:
        """The trigger of that name of a task; TriggerNotFoundError where there is none."""
        return Trigger(await session().controller.triggers.get(task_name, name))

    @staticmethod
    @ListVerb
    async def listall(
        task_name: str | None = None, task_version: str | None = None, limit: int = 100
    ) -> list[Trigger]:
        """Triggers by task and name.

        Args:
            task_name: Only of this task, by its full name.
            task_version: Only those that run this version; those that run the newest at any time are left out.
            limit: At most that many.
        """
        found = [Trigger(each) for each in await session().controller.triggers.listall(task_name, None)]
        return [each for each in found if task_version in (None, each.task_version)][:limit]

    @staticmethod
    @Verb
    @not_while_loading("Trigger.update")
    async def update(name: str, task_name: str, active: bool) -> None:
        """Switch a trigger on or off; TriggerNotFoundError where there is none.

        Of the times that have passed while it was off none is caught up.
        """
        await session().controller.triggers.set_active(task_name, name, active)

    @staticmethod
    @Verb
    @not_while_loading("Trigger.delete")
    async def delete(
        name: str, task_name: str, project: str | None = None, domain: str | None = None
    ) -> None:
        """Forget a trigger, whose runs stay; TriggerNotFoundError where there is none.

        Where the task declares it, the next deployment brings it back. ``project`` and ``domain`` are of Flyte: they
        mean nothing here, and say so.
        """
        without_projects("Trigger.delete", project, domain)
        await session().controller.triggers.delete(task_name, name)

    @MethodVerb
    @not_while_loading("Trigger.activate")
    async def activate(self) -> None:
        """Switch it on; see :meth:`update`."""
        self.info = await session().controller.triggers.set_active(self.task_name, self.name, True)

    @MethodVerb
    @not_while_loading("Trigger.deactivate")
    async def deactivate(self) -> None:
        """Switch it off; see :meth:`update`."""
        self.info = await session().controller.triggers.set_active(self.task_name, self.name, False)

    async def get_details(self) -> TriggerDetails:
        """What is recorded of it, as it stood when the handle last asked."""
        return TriggerDetails(self.info)

    @MethodVerb
    async def sync(self) -> Trigger:
        """Ask the cluster how the trigger stands."""
        self.info = await session().controller.triggers.get(self.task_name, self.name)
        return self
