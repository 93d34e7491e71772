"""Artifacts are files, folders and tables that are kept under a name, in versions, and that triggers can wait for."""

from __future__ import annotations

from flyteray import _public
from flyteray._client.artifacts import Artifact
from flyteray._client.cards import Card
from flyteray.io.artifacts import CardFormat, Kind, Metadata, new, produces
from flyteray.io.partitions import Granularity, TimePartition

__all__ = [
    "Artifact",
    "Card",
    "CardFormat",
    "Granularity",
    "Kind",
    "Metadata",
    "TimePartition",
    "new",
    "produces",
]

_public.adopt(__name__, globals())
