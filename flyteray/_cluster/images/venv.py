"""An image's packages beside the cluster's own: a virtual environment, built once and found by its content.

It has the cluster's packages behind its own, so it holds only what differs, and Ray and flyteray are the cluster's.
As a program (``python -m flyteray._cluster.images.venv SPEC``) it builds one and prints its folder.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement

from flyteray import _private
from flyteray._cluster.images.requirements import ANEW, Installed, parsed
from flyteray._cluster.images.unused import remove_unused, usage
from flyteray._machine.file_lock import alone
from flyteray._plan.spec import ImageSpec, InstallSpec
from flyteray._settings import Settings
from flyteray.errors import ImageBuildError

_OURS = ("ray", "flyteray")  # a worker must speak its cluster's language
_ELSEWHERE = ("PIP_PREFIX", "PIP_ROOT", "PIP_TARGET", "PIP_USER")  # with these pip would install there
_COMPLETE = "flyteray-image.json"
_QUIET = ["--no-input", "--disable-pip-version-check", "--no-color", "--progress-bar", "off"]
_SHOWN_LINES = 12
# A worker and a replica import these before the user's code.
_FLOOR = "import ray.serve, flyteray._serve.replica, flyteray._tasks.execution"

logger = logging.getLogger(__name__)
_UV_S = 30.0


def images_folder() -> Path:
    """The folder of this node's built images: in the home of a local cluster, so that they outlive the cluster."""
    if home := os.environ.get("FLYTERAY_HOME"):
        return Path(home) / "images"
    return Path(os.environ.get("FLYTERAY_CACHE", tempfile.gettempdir()), f"flyteray-images-{os.getuid()}")


def python_for(
    image: ImageSpec,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    force: bool = False,
) -> Path:
    """The Python that finds what an image asks for: this process's own where it does, else one that is built.

    Args:
        image: The image; ImageBuildError, with pip's own message, where it can't be built.
        folder: The folder of built ones. Default: ``images/`` in the home that the settings name.
        environ: Environment variables for pip besides this process's.
        force: Build even where it is there.
    """
    if image.container is not None:
        raise ImageBuildError(
            f"Image {image.name!r} is the container {image.container!r}, which needs a cluster whose nodes have podman."
        )
    if not force and Installed(_base()).meets(image.installs) and _python_of(image) is None:
        return Path(sys.executable)
    where = build(image, folder or Settings.load().home / "images", environ or {}, force)
    return where / "bin" / "python"


def build(image: ImageSpec, folder: Path, environ: Mapping[str, str], force: bool = False) -> Path:
    """The virtual environment of an image; one process of a node builds it, the others wait.

    Arguments and errors as of :func:`python_for`. With ``force`` processes that run keep the one that they have; of one
    that can't be built nothing is left.
    """
    _check_ours(image)
    link = folder / image.key
    if not force and _is_sound(link, image):
        return link.resolve()
    _private.folder(folder)
    with alone(folder / f"{image.key}.lock") as lock:
        if not force and _is_sound(link, image):
            return link.resolve()
        for left in folder.glob(f"{image.key}-*"):
            if not (left / _COMPLETE).exists():  # its builder died
                shutil.rmtree(left, ignore_errors=True)
        target = folder / f"{image.key}-{secrets.token_hex(4)}"
        try:
            inherited = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
            _Build(target, image, inherited | dict(environ), lock.file.fileno()).make()
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        fresh = folder / f"{target.name}.link"
        fresh.symlink_to(target.name)
        fresh.replace(link)
    remove_unused(folder)
    return target


def encoded(image: ImageSpec) -> str:
    """An image as one short word, for a command line."""
    return base64.urlsafe_b64encode(zlib.compress(image.model_dump_json().encode(), 9)).decode()


def _base() -> list[str]:
    """The folders of the packages that this process finds, those of its own virtual environment included."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


def _sites(target: Path) -> list[str]:
    return [str(path) for path in target.glob("lib*/python*/site-packages")]


def _together(target: Path) -> Installed:
    """The packages of an image and behind them the cluster's."""
    return Installed([*_sites(target), *_base()])


def _is_sound(link: Path, image: ImageSpec) -> bool:
    """Whether an image was built to the end, by this Python, and the cluster still has the packages that it takes."""
    try:
        built = (link / _COMPLETE).read_text()
    except OSError:
        return False
    target = link.resolve()
    if image.python is not None and built == _of_other(target):
        return (target / "bin" / "python").exists()
    if built == _identity(holds=False):
        return True  # not even when it was new, by the user's own options
    return built == _identity(holds=True) and _together(target).meets(image.installs)


def _identity(holds: bool) -> str:
    return f"{sys.version_info[:2]} {sys.prefix} {holds}"


def _of_other(target: Path) -> str:
    return f"with a Python of its own: {os.path.realpath(target / 'bin' / 'python')}"


def _python_of(image: ImageSpec) -> str | None:
    """The other Python that a program is to run, where this node has it."""
    if image.python is None:
        return None
    if (found := other_python(image.python)) is not None:
        return found
    here = ".".join(map(str, sys.version_info[:3]))
    asks = f"Image {image.name!r} asks for Python {image.python}, and uv finds none on this node"
    if image.python_required:
        raise ImageBuildError(
            f"{asks}, which runs {here}. Install it there (`uv python install`), or unset FLYTERAY_IMAGE_PYTHON: then "
            "this one is taken."
        )
    logger.warning("%s: its program gets Python %s.", asks, here)
    return None


@dataclasses.dataclass(frozen=True)
class _Build:
    """A build of an image into a folder, in steps.

    ``environ`` are the variables of its steps; ``lock`` is a descriptor that they hold open, so that nobody builds
    beside steps that outlive a kill.
    """

    target: Path
    image: ImageSpec
    environ: Mapping[str, str]
    lock: int

    @property
    def _python(self) -> str:
        return str(self.target / "bin" / "python")

    def make(self) -> None:
        if (other := _python_of(self.image)) is not None:
            self._make_of(other)
        else:
            self._make_beside()
        for script in (self.target / "bin").iterdir():  # whose modes are copied, whatever the umask
            if not script.is_symlink():
                script.chmod(script.stat().st_mode & _private.FOLDER)

    def _make_of(self, python: str) -> None:
        """Make it with another Python, which can take over nothing of the cluster's."""
        uv = find_uv()
        assert uv is not None
        self._run([*uv, "venv", "--quiet", "--python", python, str(self.target)])
        for install in self.image.installs:
            pre = ["--pre"] if "--pre" in install.requirements else []
            lines = [line for line in install.requirements if line != "--pre"]
            command = [*uv, "pip", "install", "--quiet", "--python", self._python, *pre]
            self._run([*command, *self._files(lines, install.constraints), *install.options])
        _private.write(Path(_sites(self.target)[0]) / "_flyteray_use.pth", usage(self.target))
        _private.write(self.target / _COMPLETE, _of_other(self.target))

    def _make_beside(self) -> None:
        self._run([sys.executable, "-m", "venv", "--without-pip", str(self.target)])
        site = Path(_sites(self.target)[0])
        # addsitedir rather than a bare path: the cluster's own .pth files count as well (editable installs).
        base = "".join(f"import site; site.addsitedir({path!r})\n" for path in _base())
        _private.write(site / "_flyteray_base.pth", usage(self.target) + base)
        _adopt_scripts(self.target)
        pip = self._pip()
        for install in self.image.installs:
            self._install([*pip, "install", *_QUIET], install)
        if not self.image.program:
            self._check_floor()
        _private.write(self.target / _COMPLETE, _identity(_together(self.target).meets(self.image.installs)))

    def _check_floor(self) -> None:
        """Refuse packages that replace the cluster's in versions that Ray or flyteray can't live with."""
        own, base = Installed(_sites(self.target)), Installed(_base())
        replaced = own.names() & base.names()
        if not replaced:
            return
        known = base.broken("flyteray")
        broken = [each for each in _together(self.target).broken("flyteray") if each not in known]
        if not broken:
            try:
                self._run([self._python, "-c", _FLOOR])
            except ImageBuildError as error:
                brought = ", ".join(own.versions(replaced))
                broken = [f"it brings {brought} in place of the cluster's. {error}"]
        if broken:
            raise ImageBuildError(
                f"Image {self.image.name!r} was installed, but Ray or flyteray does not start with its packages: "
                f"{'; '.join(broken)}. Ask for other versions, or leave them out; a program of its own (args, command) "
                "may have any."
            )

    def _install(self, pip: list[str], install: InstallSpec) -> None:
        ours = [f"{name}=={version}" for name in _OURS if (version := _version(name))]
        constraints = [*install.constraints, *ours]
        if not self.image.program and (floor := _floor(install)):
            # A requirement may not go with it, or not be there at all: pip then says which, or the check does.
            with contextlib.suppress(ImageBuildError):
                files = self._files([*install.requirements, *floor], constraints)
                self._run([*pip, *files, *install.options])
                return
        self._run([*pip, *self._files(list(install.requirements), constraints), *install.options])

    def _files(self, requirements: list[str], constraints: Iterable[str]) -> list[str]:
        """The options of pip that name its requirements and constraints, in files."""
        options = []
        for option, lines in (("requirement", requirements), ("constraint", constraints)):
            file = self.target / f"{option}s.txt"
            _private.write(file, "\n".join(lines) + "\n")
            options += [f"--{option}", str(file)]
        return options

    def _pip(self) -> list[str]:
        """The cluster's pip, told to install elsewhere; where it has none, one from the standard library."""
        if importlib.util.find_spec("pip"):
            return [sys.executable, "-m", "pip", "--python", self._python]
        if not importlib.util.find_spec("ensurepip"):
            raise ImageBuildError(
                f"Image {self.image.name!r} can't be built: {sys.executable} has neither pip nor ensurepip. "
                "Install pip there."
            )
        self._run([self._python, "-m", "ensurepip", "--default-pip"])
        return [self._python, "-m", "pip"]

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(self.lock,),
            umask=0o077,
            check=False,
        )
        if done.returncode != 0:
            told = _last_words(done.stdout)
            for secret in self.image.secrets:
                if value := self.environ.get(secret.env_var or ""):
                    told = told.replace(value, "****")
            raise ImageBuildError(f"Image {self.image.name!r} could not be built:\n{told}")


def _floor(install: InstallSpec) -> tuple[str, ...]:
    """The requirement of flyteray, and with it Ray, which are there: pip then finds versions that suit them."""
    words = {word for line in (*install.options, *install.requirements) for word in line.split()[:1]}
    ours = f"flyteray=={_version('flyteray')}"
    there = Installed(_base()).meets([InstallSpec(requirements=(ours,))])
    return (ours,) if there and not words & ANEW else ()


def _last_words(output: str) -> str:
    lines = [
        line for line in output.splitlines() if line.strip() and not line.startswith(("WARNING", "Looking"))
    ]
    first = next((number for number, line in enumerate(lines) if "ERROR" in line or "error:" in line), 0)
    told = lines[first:]
    return "\n".join(told if len(told) <= _SHOWN_LINES else [*told[:2], "…", *told[-_SHOWN_LINES:]])


def _adopt_scripts(target: Path) -> None:
    """Give the cluster's console scripts to the image's Python, so that ``uvicorn …`` finds its packages."""
    here = Path(sys.executable).parent
    ours = re.compile(rb"#!" + re.escape(os.fsencode(here / "python")) + rb"[0-9.]*\n")
    for script in here.iterdir():
        copy = target / "bin" / script.name
        with contextlib.suppress(OSError), script.open("rb") as file:  # a folder, or a link to nothing
            if ours.fullmatch(file.readline(1024)) and not copy.exists():
                copy.write_bytes(b"#!" + os.fsencode(target / "bin" / "python") + b"\n" + file.read())
                copy.chmod(0o700)


def _check_ours(image: ImageSpec) -> None:
    """Refuse an image that asks for another Ray or flyteray than the cluster's."""
    for line in (line for install in image.installs for line in install.requirements):
        try:
            wanted = parsed(line)
        except InvalidRequirement:
            continue
        version = _version(wanted.name) if wanted.name.lower() in _OURS else None
        if version and not wanted.specifier.contains(version, prereleases=True):
            raise ImageBuildError(
                f"Image {image.name!r} asks for {line!r}, but the cluster runs {wanted.name} {version}, and all of its "
                "processes have to. Leave it out of the image."
            )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_uv() -> list[str] | None:
    """The command that runs uv: from PATH, beside this Python, or its package; None where it is not there."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    if found := shutil.which("uv", path=beside):
        return [found]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else None


def other_python(wanted: str) -> str | None:
    """The path of a Python of a version specifier; None where uv finds none, or is not there."""
    uv = find_uv()
    if uv is None:
        return None
    asked = ["python", "find", "--no-python-downloads", "--system", "--no-project", "--no-config", wanted]
    nowhere = subprocess.DEVNULL
    try:
        found = subprocess.check_output([*uv, *asked], stdin=nowhere, stderr=nowhere, timeout=_UV_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(found.strip()) or None


def main(arguments: list[str]) -> None:
    """Build the image that the last argument is, and print its folder."""
    if arguments[0] != "--here":
        # On its own: Ray gives a worker a minute to start, and the next try shall find the build that this one began.
        command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--here", *arguments]
        sys.exit(subprocess.run(command, start_new_session=True, check=False).returncode)
    image = ImageSpec.model_validate_json(zlib.decompress(base64.urlsafe_b64decode(arguments[1])))
    if image.secrets:
        # The controller alone has their values, and builds it here as soon as it sees this node.
        sys.exit(f"Image {image.name!r} is not built on this node yet.")
    try:
        print(build(image, images_folder(), {}))
    except ImageBuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
