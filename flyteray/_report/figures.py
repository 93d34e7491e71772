"""Figures and images of a report are in the page itself: as a picture, or as JavaScript that the page brings."""

from __future__ import annotations

import base64
import functools
import io
import json
import os
from typing import Any

from flyteray._report.piece import Piece

_DENSITY = 2  # pixels of a picture for each that it is wide: sharp on the screens of phones and laptops
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")


def picture(kind: str, data: bytes | str, width: int | None = None) -> Piece:
    """A picture of a media type from its bytes, or their base64, ``width`` pixels wide."""
    text = base64.b64encode(data).decode() if isinstance(data, bytes) else "".join(data.split())
    wide = f' width="{width}"' if width else ""
    return Piece(f'<img src="data:{kind};base64,{text}"{wide} alt="">', adapts=True)


def matplotlib(figure: Any) -> Piece:
    """A figure of matplotlib, or whatever saves itself as that does."""
    while not hasattr(figure, "savefig"):
        figure = figure.figure  # of a part of a figure
    drawn = io.BytesIO()
    resolution = float(getattr(getattr(figure, "figure", figure), "dpi", 100))
    figure.savefig(drawn, format="png", dpi=resolution * _DENSITY, bbox_inches="tight")
    data = drawn.getvalue()
    width = int.from_bytes(data[16:20], "big")  # where a PNG has it
    return picture("image/png", data, width // _DENSITY)


def image(found: Any) -> Piece:
    """An image of PIL: a PNG, or again the JPEG that it was read from."""
    kind = "JPEG" if found.format == "JPEG" and found.mode in ("L", "RGB") else "PNG"
    kept = io.BytesIO()
    (found if found.mode in _PNG_MODES else found.convert("RGB")).save(kept, format=kind)
    return picture(f"image/{kind.lower()}", kept.getvalue())


def plotly(figure: Any) -> Piece:
    """A figure of plotly; the page brings plotly.js."""
    made = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True})
    return Piece(made, "plotly", adapts=True)


def altair(chart: Any) -> Piece:
    """A chart of altair; the page brings vega."""
    _vl_convert()
    name = f"altair-{os.urandom(8).hex()}"
    specification = json.dumps(chart.to_dict()).replace("</", "<\\/")
    return Piece(
        f'<div id="{name}"></div>\n<script>vegaEmbed("#{name}", {specification});</script>',
        "vega",
        adapts=True,
    )


@functools.cache
def source(library: str) -> str:
    """The JavaScript of a library, from the Python package that has it."""
    if library == "plotly":
        from plotly.offline import get_plotlyjs  # deferred: it is there where a figure of it is

        text: str = get_plotlyjs()
    else:
        text = _vl_convert().javascript_bundle()
    return text.replace("</script", "<\\/script")


def _vl_convert() -> Any:
    try:
        import vl_convert  # deferred: only who shows charts of altair has it
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "A chart of altair can be in a report only with the JavaScript that draws it, which the package "
            "vl-convert-python has: pip install vl-convert-python, or name it in the environment's Image."
        ) from None
    return vl_convert
