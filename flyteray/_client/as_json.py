"""A handle tells what is recorded as plain values, or as JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any


class AsJson(ABC):
    """What handles have in common."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All that is recorded, as plain JSON values."""

    def to_json(self) -> str:
        """All that is recorded, as JSON."""
        return json.dumps(self.to_dict())
