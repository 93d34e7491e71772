"""Files and folders as inputs and outputs of tasks and as parameters of apps."""

from flyteray import _public
from flyteray.io.dir import Dir, EmptyDir
from flyteray.io.file import File
from flyteray.io.hashing import HashFunction

__all__ = ["Dir", "EmptyDir", "File", "HashFunction"]

_public.adopt(__name__, globals())
