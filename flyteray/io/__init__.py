"""Files, folders and tables are inputs and outputs of tasks; files and folders are parameters of apps as well."""

from flyteray import _public
from flyteray.io.dataframe import DataFrame
from flyteray.io.dir import Dir, EmptyDir
from flyteray.io.file import File
from flyteray.io.frames import CSV, PARQUET
from flyteray.io.hashing import HashFunction
from flyteray.io.jsonl import JsonlDir, JsonlFile

__all__ = ["CSV", "PARQUET", "DataFrame", "Dir", "EmptyDir", "File", "HashFunction", "JsonlDir", "JsonlFile"]

_public.adopt(__name__, globals())
