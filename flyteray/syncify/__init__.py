"""Users' own async functions block where they are called plainly, as the verbs of flyteray do."""

from flyteray import _public
from flyteray.syncify.decorator import Syncify, syncify

__all__ = ["Syncify", "syncify"]

_public.adopt(__name__, globals())
