"""Everything that a listener, a metric or a log line can hear from the dispatcher. Values only, no secrets."""

from __future__ import annotations

from dataclasses import dataclass

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"
STATES = (CLOSED, OPEN, HALF_OPEN)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The breaker moved. ``next_probe_in`` and ``since_open`` are seconds; ``cause`` is in words."""

    old: str
    new: str
    at: float
    cause: str
    next_probe_in: float = 0.0
    since_open: float = 0.0
    waiters: int = 0
    by_operator: bool = False


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """One request left for the endpoint; ``retry`` when it draws on the retry budget (G12)."""

    retry: bool
    probe: bool


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """One request has its verdict. ``stale``: of an older generation, so that it changed nothing."""

    kind: str
    status: int
    seconds: float
    probe: bool
    stale: bool


@dataclass(frozen=True, slots=True)
class ProbeFinished:
    """``result`` is success, failure, cancelled (given back) or lost (its lease ran out)."""

    result: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """One waiter left. ``outcome``: ok, ok_retried, error, error_retried, fast_fail or cancelled."""

    outcome: str
    waited: float


@dataclass(frozen=True, slots=True)
class HoldStarted:
    """Nothing starts for ``seconds``: the server is counting."""

    seconds: float
    cause: str
    waiters: int = 0


@dataclass(frozen=True, slots=True)
class KeyDenied:
    """One key was refused and is remembered for ``seconds``."""

    status: int
    code: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class WindowCut:
    """The admission window shrank to ``size`` attempts in flight."""

    size: float


Event = (
    StateChanged
    | AttemptStarted
    | AttemptFinished
    | ProbeFinished
    | CallFinished
    | HoldStarted
    | KeyDenied
    | WindowCut
)
