"""Files and folders of records, each of which is a line of JSON."""

from flyteray import _public
from flyteray.io.jsonl.dir import JsonlDir
from flyteray.io.jsonl.file import JsonlFile

__all__ = ["JsonlDir", "JsonlFile"]

_public.adopt(__name__, globals())
