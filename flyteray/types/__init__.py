"""Users say how values of types of their own travel to tasks and back: transformers, and the engine that has them."""

from flyteray import _public
from flyteray._declare.transformer import TypeTransformer, TypeTransformerFailedError
from flyteray.types.engine import FlytePickle, Renderable, TypeEngine

__all__ = ["FlytePickle", "Renderable", "TypeEngine", "TypeTransformer", "TypeTransformerFailedError"]

_public.adopt(__name__, globals())
