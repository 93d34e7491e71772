"""Files and folders are inputs and outputs of tasks and parameters of apps."""

from flyteray import _public
from flyteray.io.dir import Dir, EmptyDir
from flyteray.io.file import File
from flyteray.io.hashing import HashFunction

__all__ = ["Dir", "EmptyDir", "File", "HashFunction"]

_public.adopt(__name__, globals())
