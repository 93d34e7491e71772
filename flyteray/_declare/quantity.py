"""Amounts are read as users write them: ``"500m"`` of a CPU, ``"4Gi"`` of memory."""

from __future__ import annotations

import math
import re

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_CPU = re.compile(rf"({_NUMBER})(m?)")
_BYTES = re.compile(rf"({_NUMBER})([kKMGTPE]i?)?[bB]?")
_FACTORS = {
    "": 1,
    **{unit: 1000 ** (power + 1) for power, unit in enumerate("kMGTPE")},
    **{f"{unit}i": 1024 ** (power + 1) for power, unit in enumerate("KMGTPE")},
}


def cpus(value: int | float | str) -> float:
    """A number of CPUs; ``"500m"`` is half of one. ValueError: it is no number, negative, or not finite."""
    if isinstance(value, str):
        match = _CPU.fullmatch(value.strip())
        if match is None:
            raise ValueError(f'cpu must be a number such as 2, 0.5 or "500m", got {value!r}.')
        return float(match[1]) / (1000 if match[2] else 1)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f'cpu must be a number such as 2, 0.5 or "500m", got {value!r}.')
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"cpu must be a finite number, 0 or more, got {value!r}.")
    return float(value)


def size_bytes(what: str, value: str) -> int:
    """Bytes in ``"512Mi"`` (powers of 1024), ``"2G"`` (powers of 1000) or ``"1048576"``; ValueError names ``what``."""
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = (match[2] or "") if match else ""
    factor = _FACTORS.get({"K": "k", "ki": "Ki"}.get(unit, unit))
    if match is None or factor is None:
        raise ValueError(f'{what} must be text such as "512Mi" or "4Gi", got {value!r}.')
    return int(float(match[1]) * factor)
