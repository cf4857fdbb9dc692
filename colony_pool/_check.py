"""Whether an option is what it may be. ``ValueError`` names the option, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection


def number(owner: object, name: str, low: float, high: float = math.inf) -> None:
    """A finite number from ``low`` to ``high``; ``True`` is none."""
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        top = "" if high == math.inf else f" and at most {high:g}"
        raise bad(owner, name, f"a number of at least {low:g}{top}")
    if math.isinf(value):
        raise ValueError(f"{_called(owner)}({name}={value!r}): must be finite")


def whole(owner: object, name: str, low: int, high: int | None = None) -> None:
    """A whole number from ``low`` to ``high``; ``True`` is none."""
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        top = "" if high is None else f" and at most {high}"
        raise bad(owner, name, f"a whole number of at least {low}{top}")


def flag(owner: object, name: str) -> None:
    """``True`` or ``False``: the text ``"false"`` is true, and means the opposite."""
    if not isinstance(getattr(owner, name), bool):
        raise bad(owner, name, "True or False")


def statuses(owner: object, name: str) -> None:
    """A collection of HTTP statuses."""
    value = getattr(owner, name)
    if not isinstance(value, Collection) or isinstance(value, str):
        raise bad(owner, name, "a set of HTTP statuses, 100 to 599")
    if any(isinstance(s, bool) or not isinstance(s, int) or not 100 <= s <= 599 for s in value):
        raise bad(owner, name, "a set of HTTP statuses, 100 to 599")


def ordered(owner: object, first: str, second: str) -> None:
    """``first`` does not exceed ``second``."""
    low, high = getattr(owner, first), getattr(owner, second)
    if low > high:
        raise ValueError(f"{_called(owner)}({first}={low!r}): must not exceed {second}={high!r}")


def bad(owner: object, name: str, allowed: str) -> ValueError:
    """What is raised for the value that ``owner`` has for ``name``."""
    return ValueError(f"{_called(owner)}({name}={getattr(owner, name)!r}): must be {allowed}")


def _called(owner: object) -> str:
    """By what name its user calls it."""
    return str(getattr(owner, "CALLED", type(owner).__name__))
