"""Checks of FakeColony's arguments, before they are sent: a wrong name or value fails in the test that wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._behaviour import AT_CONNECT, check
from ._server_process import FakeColonyError

Step = tuple[float, str] | tuple[float, str, Mapping[str, Any]]
_STEP = "must be (seconds, behaviour) or (seconds, behaviour, options)"


def checked(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the behaviour in the form in which it is sent."""
    try:
        return name, dict(check(name, options).options)
    except ValueError as problem:
        raise FakeColonyError(str(problem)) from None


def everywhere_only(name: str, where: str) -> None:
    """Refuse a behaviour for some paths only, if it acts before the first request."""
    if name in AT_CONNECT:
        raise FakeColonyError(f"behaviour {name!r}: not for {where}: it acts before any request")


def between(name: str, value: float, low: float, high: float, *, whole: bool = False) -> float:
    """Return ``value`` if it is a number in the range, or raise ``FakeColonyError``."""
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise FakeColonyError(f"{name}={value!r}: must be{' a whole number' * whole} from {low:g} to {high:g}")
    return value


def text(name: str, value: str) -> str:
    """Return ``value`` if it is a string, or raise ``FakeColonyError``, which does not show it: it may be a key."""
    if not isinstance(value, str):
        raise FakeColonyError(f"{name}: must be a string, not {type(value).__name__}")
    return value


def script(steps: Iterable[Step], every: float | None, only: str | None) -> list[tuple[float, str, dict[str, Any]]]:
    """Return the schedule in the form in which it is sent."""
    played = [_step(step, only) for step in steps]
    times = [at for at, _, _ in played]
    if not played or times != sorted(times):
        raise FakeColonyError(f"schedule: times {times}: must be one or more, from 0 up, in order")
    if every is not None and between("every", every, 0.0, 1e9) <= times[-1]:
        raise FakeColonyError(f"schedule: every={every!r}: must be longer than the last step's {times[-1]!r}")
    if only is not None:
        text("only", only)
    return played


def _step(step: Step, only: str | None) -> tuple[float, str, dict[str, Any]]:
    if not isinstance(step, (tuple, list)) or len(step) not in (2, 3):
        raise FakeColonyError(f"schedule: {step!r}: {_STEP}")
    options = step[2] if len(step) == 3 else {}
    if not isinstance(options, Mapping):
        raise FakeColonyError(f"schedule: {step!r}: {_STEP}")
    if only is not None:
        everywhere_only(step[1], "only=...")
    return between("schedule: seconds", step[0], 0.0, 1e9), *checked(step[1], options)
