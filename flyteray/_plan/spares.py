"""The kinds of processes that wait to become replicas: those of one app version, and blank ones."""

from __future__ import annotations

from flyteray._plan.spec import NO_IMAGE, AppSpec, Start

BLANK = "blank"
"""The kind of processes that are nobody's yet: they have imported what every replica needs, and no code of a user's."""


def kind_of(spec: AppSpec, start: Start = NO_IMAGE) -> str:
    """The kind of process that an app version's replicas are: its own, blank ones, or none that waits, which is "".

    A version with ``spare`` has its own kind, its id. One may become a replica of any version that asks for nothing by
    which Python itself would have been started in another way: no image, no variables, no limit of threads.
    """
    if spec.spare:
        return spec.version_id
    environment = spec.environment
    variables = environment.env_vars or any(each.env_var for each in spec.parameters)
    is_plain = start == NO_IMAGE and not variables and not environment.num_cpus and not spec.parts
    return BLANK if is_plain else ""


def refuse(what: str, spec: AppSpec) -> None:
    """Raise ValueError where a version asks for spare processes that it can't have; ``what`` says in it whose."""
    if not spec.spare:
        return
    image = spec.environment.image
    if spec.environment.num_gpus or spec.environment.resources:
        raise ValueError(
            f"{what} asks for an accelerator, so it can't have Scaling(spare={spec.spare}): Ray says which one a "
            "process has when a replica starts in it, and code that has looked before goes by another. Leave spare out."
        )
    if image is not None and image.container:
        raise ValueError(
            f"{what} runs in a container ({image.container}), so it can't have Scaling(spare={spec.spare}). Leave "
            "spare out, or install the packages: Image.from_debian_base().with_pip_packages(...)."
        )
    if spec.kind == "serve":
        raise ValueError(
            f"{what} is an application of Ray Serve's, so it can't have Scaling(spare={spec.spare}): its deployments "
            "scale by themselves. Leave spare out."
        )
