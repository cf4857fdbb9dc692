"""Whether an option is what it may be. ``ValueError`` names the option, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection

# The largest number that every clock, timer, store and runtime carries; 31 years, where it is seconds.
LARGEST = 10**9
# The longest that a socket can be waited for, seconds: the system counts milliseconds in 31 bits. 11 days.
LONGEST_TIMEOUT = 10**6
_SHOWN = 60


def is_number(value: object, low: float, high: float) -> bool:
    """Whether ``value`` is a number from ``low`` to ``high``; ``True`` is none, nor is NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def number(owner: object, name: str, low: float, high: float = LARGEST) -> None:
    """A finite number from ``low`` to ``high``; ``True`` is none."""
    if not is_number(getattr(owner, name), low, high):
        raise bad(owner, name, f"a number of at least {low:g} and at most {high:g}")


def whole(owner: object, name: str, low: int, high: int = LARGEST) -> None:
    """A whole number from ``low`` to ``high``; ``True`` is none."""
    value = getattr(owner, name)
    if not isinstance(value, int) or not is_number(value, low, high):
        raise bad(owner, name, f"a whole number of at least {low} and at most {high}")


def patience(value: object) -> float:
    """Return the seconds of a ``max_wait``; ``math.inf`` is no limit.

    Raises:
        ValueError: it is none.
    """
    if value == math.inf:
        return float(LARGEST)
    if not isinstance(value, (int, float)) or not is_number(value, 0.0, LARGEST):
        raise ValueError(
            f"max_wait={shown(value)}: must be a number of seconds from 0 to {LARGEST:g}, or math.inf for no limit"
        )
    return float(value)


def shown(value: object) -> str:
    """``value`` for a message: a number may have more digits than Python is willing to write."""
    try:
        words = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


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
    return ValueError(f"{_called(owner)}({name}={shown(getattr(owner, name))}): must be {allowed}")


def _called(owner: object) -> str:
    """By what name its user calls it."""
    return str(getattr(owner, "CALLED", type(owner).__name__))
