"""Everything that a listener, a metric or a log line can hear from the dispatcher. Values only, no secrets.

Times are seconds; what comes with a closed list of words has it in ``catalog.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"
STATES = (CLOSED, OPEN, HALF_OPEN)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The breaker moved, ``at`` monotonic seconds; ``cause`` is in words. ``learnt``: from another process.

    ``known_good``: the address gave a token before, or an operator moved it. ``guarded``: it opened for failures of
    calls that the breaker guards.
    """

    old: str
    new: str
    at: float
    cause: str
    next_probe_in: float = 0.0
    since_open: float = 0.0
    waiters: int = 0
    by_operator: bool = False
    learnt: bool = False
    known_good: bool = True
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """One request left for the endpoint.

    ``retry_of``: the class of the flight's last failure, when it draws on the retry budget (G12), else "".
    """

    retry_of: str
    probe: bool


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """One request has its verdict.

    ``stale``: of an older generation, so that it changed nothing. ``lost``: it was given up at its deadline.
    ``late``: what became of a request that was given up before, and so has had its verdict.
    """

    kind: str
    status: int
    seconds: float
    probe: bool
    stale: bool
    lost: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class ProbeFinished:
    """``result`` is success, failure, cancelled (given back) or lost (its lease ran out)."""

    result: str


@dataclass(frozen=True, slots=True)
class TokenAsked:
    """A call came that the hot path could not serve; ``source`` says who serves it."""

    source: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """One waiter left. ``parked``: it waited while the breaker was not closed or a hold was on."""

    outcome: str
    waited: float
    parked: bool = False


@dataclass(frozen=True, slots=True)
class RefreshFinished:
    """One flight ended: ``trigger`` is miss, soft or forced, ``result`` success or failure."""

    trigger: str
    result: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RetryDenied:
    """A retry was not made (deadline, outcome), or has to wait for the budget."""

    reason: str


@dataclass(frozen=True, slots=True)
class HoldStarted:
    """Nothing starts for ``seconds``: the server is counting. ``reason`` is throttled, exhausted or shared."""

    seconds: float
    cause: str
    reason: str
    waiters: int = 0


@dataclass(frozen=True, slots=True)
class HoldCleared:
    """An operator has ended a hold that had ``seconds`` to go; ``learnt``: at another process, or by command.

    ``cause`` is the hold's, "" if it was one key alone that was held.
    """

    seconds: float
    cause: str
    waiters: int = 0
    learnt: bool = False


@dataclass(frozen=True, slots=True)
class KeyDenied:
    """One key was refused and is remembered for ``seconds``; ``code_only``: its one-time code was."""

    status: int
    code: str | None
    seconds: float
    code_only: bool = False


@dataclass(frozen=True, slots=True)
class ServerBlamed:
    """So many keys that had worked were refused that the server is at fault, not the ``keys``."""

    keys: int


@dataclass(frozen=True, slots=True)
class StreakStarted:
    """The first failure after a success, or the first of all: ``cause`` in words.

    ``next_in``: seconds until the key is tried again; ``None`` when its calls have failed at once.
    ``known_good``: the address gave a token before.
    """

    cause: str
    next_in: float | None
    waiters: int
    known_good: bool


@dataclass(frozen=True, slots=True)
class WindowCut:
    """The admission window shrank to ``size`` attempts in flight."""

    size: float


Event = (
    StateChanged
    | AttemptStarted
    | AttemptFinished
    | ProbeFinished
    | TokenAsked
    | CallFinished
    | RefreshFinished
    | RetryDenied
    | HoldStarted
    | HoldCleared
    | KeyDenied
    | ServerBlamed
    | StreakStarted
    | WindowCut
)
