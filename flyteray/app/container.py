"""Flyte's backend starts an app in a container by the words made here; Ray starts apps itself."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flyteray.app.command import LAUNCHER
from flyteray.app.parameters import Parameter
from flyteray.app.sources import AppEndpoint, RunOutput
from flyteray.io import Dir, File

if TYPE_CHECKING:
    from flyteray._declare.facts import SerializationContext


def launcher_words(context: SerializationContext, parameters: Sequence[Parameter]) -> list[str]:
    """Flyte's launcher and its options, as far as ``--``. ValueError: a parameter has no value."""
    bundle = context.code_bundle
    words = [LAUNCHER, "--version", context.version or (bundle.computed_version if bundle else "")]
    words += [
        "--project",
        context.project or "",
        "--domain",
        context.domain or "",
        "--org",
        context.org or "",
    ]
    if context.image_cache is not None:
        packed = getattr(context.image_cache, "serialized_form", None) or context.image_cache.to_transport
        words += ["--image-cache", packed]
    if bundle is not None:
        words += ["--tgz", bundle.tgz] if bundle.tgz else ["--pkl", bundle.pkl or ""]
        words += ["--dest", bundle.destination or "."]
    if parameters:
        words += ["--parameters", _packed(parameters)]
    return [*words, "--raw-data-path", "{{.rawOutputDataPrefix}}", "--"]


def _packed(parameters: Sequence[Parameter]) -> str:
    text = json.dumps({"parameters": [_plain(parameter) for parameter in parameters]})
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _plain(parameter: Parameter) -> dict[str, Any]:
    value = parameter.value
    if value is None:
        raise ValueError(
            f"Parameter {parameter.name!r} has no value: give it one, here or when the app is served."
        )
    if isinstance(value, (RunOutput, AppEndpoint)):
        text = value.model_dump_json()
    else:
        text = str(value.path) if isinstance(value, (File, Dir)) else str(value)
    from_afar = isinstance(value, (File, Dir, RunOutput))
    fetched = parameter.mount is not None and (from_afar or parameter.kind in ("file", "directory"))
    return {
        "name": parameter.name,
        "value": text,
        "download": fetched or (from_afar and parameter.download),
        "type": parameter.kind,
        "env_var": parameter.env_var,
        "dest": parameter.mount,
        "ignore_patterns": list(parameter.ignore_patterns),
    }
