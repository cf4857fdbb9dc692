"""Values of a store's content, reduced to the nearest that can be: no NaN, no infinity, no bytes."""

from __future__ import annotations

import math

from .._core.outcome import one_line

MAX_TEXT = 300
MAX_COUNT = 10**14  # generations and fences begin at a clock's milliseconds, 1.8e12 in 2026
FAR = 1e12  # seconds; longer than any time, and exact to a millisecond in a float


def _is_nan(value: float) -> bool:
    # Of an int that is too large for a float it cannot be asked.
    return isinstance(value, float) and math.isnan(value)


def number(value: object, high: float = FAR, low: float = 0.0) -> float:
    """``value`` between ``low`` and ``high``; the nearest to 0 for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or _is_nan(value):
        value = 0.0
    return float(min(max(value, low), high))  # compared first: an int may be too large for a float


def whole(value: object, high: int = MAX_COUNT) -> int:
    """The whole number nearest to ``value`` between 0 and ``high``; 0 for what is no number."""
    return int(number(value, float(high)))


def text(value: object, most: int = MAX_TEXT) -> str:
    """``value`` as one printable line; "" for what is no text."""
    return one_line(value[:most]) if isinstance(value, str) else ""
