"""What processes tell each other about one endpoint, as values. All times are seconds from the moment of telling."""

from __future__ import annotations

from dataclasses import dataclass, field

# How the store that processes share does: there is none, nobody knows yet, it works, it fails; and how it fails.
STORES = ("none", "unknown", "working", "unavailable")
STORE_FAILURES = ("slow", "failed")


@dataclass(frozen=True, slots=True)
class OpenState:
    """The breaker is open.

    Arguments:
        probe_in: seconds until the next probe may leave.
        level: how often it has opened in a row; the delay doubles with each.
        opened_for: seconds since it opened first.
        cause: why, in words.
        status: of the last answer; 0 without one.
    """

    probe_in: float
    level: int
    opened_for: float
    cause: str
    status: int


@dataclass(frozen=True, slots=True)
class SharedState:
    """What the store knows.

    Arguments:
        generation: grows with each opening (again, too) and each closing; 0 while nobody has reported anything.
        opening: ``None`` while the breaker is closed.
        lease_for: rest of the probe's lease, 0 when nobody probes.
        hold_for: rest of the hold, 0 without one; ``hold_cause`` in words.
        hold_age: since when the server asks for it.
        cleared_ago: seconds since an operator last ended a hold; ``None``: no operator has.
        members: processes that have callers parked, this one included if it has joined.
    """

    generation: int = 0
    opening: OpenState | None = None
    lease_for: float = 0.0
    hold_for: float = 0.0
    hold_cause: str = ""
    members: int = 0
    hold_age: float = 0.0
    cleared_ago: float | None = None


@dataclass(frozen=True, slots=True)
class SharedDenial:
    """A key was refused.

    Arguments:
        seconds: for how long it is not tried.
        times: how often it was refused in a row.
        status: of the answer.
        code: the API's own code, or ``None``.
        detail: the API's own words.
    """

    seconds: float
    times: int
    status: int
    code: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class HandledElsewhere:
    """Why an attempt was not made: another process makes it, or has made it.

    Arguments:
        token: ``(jwt, seconds of life left)`` that came of it.
        denial: the key was refused.
        view: the breaker is open, or everybody is held, and this process did not know.
    """

    token: tuple[str, float] | None = field(default=None, repr=False)
    denial: SharedDenial | None = None
    view: SharedState | None = None
