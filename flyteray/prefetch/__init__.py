"""Prefetching of models is absent; a task downloads a model and returns its folder."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_DOWNLOAD = (
    "download the model in a task with huggingface_hub.snapshot_download, return "
    "flyteray.io.Dir.from_local_sync(folder), and hand it to an app by RunOutput."
)

_INSTEAD = {
    "HuggingFaceModelInfo": _DOWNLOAD,
    "ShardConfig": _DOWNLOAD,
    "StoredModelInfo": _DOWNLOAD,
    "VLLMShardArgs": _DOWNLOAD,
    "hf_model": _DOWNLOAD,
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
