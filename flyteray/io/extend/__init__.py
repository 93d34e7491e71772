"""Frames of a user's own class are written by encoders and read by decoders that the user registers."""

from flyteray import _public
from flyteray.io.extend.handlers import (
    DataFrameDecoder,
    DataFrameEncoder,
    DataFrameTransformerEngine,
    DuplicateHandlerError,
)

__all__ = ["DataFrameDecoder", "DataFrameEncoder", "DataFrameTransformerEngine", "DuplicateHandlerError"]

_public.adopt(__name__, globals())
