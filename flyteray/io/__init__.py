"""Files and folders as inputs and outputs of tasks and as parameters of apps."""

from flyteray.io.dir import Dir
from flyteray.io.file import File

__all__ = ["Dir", "File"]
