"""What each side cost: counted from what its server recorded, except for the agents that were lost.

An agent that gives up does so at home; the server cannot see it. That figure alone is the crew's own.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import Any

from .plan import OUTAGE, RECOVERY, Plan
from .stage import Side

BUCKET = 0.1
_BURST = 0.1


@dataclass(frozen=True, slots=True)
class Score:
    """One side's figures.

    Attributes:
        during_outage: token requests that reached the server during the outage.
        after_recovery: the same, from recovery to the end.
        burst: most token requests within any tenth of a second after recovery.
        knocks: how often the recovering server was knocked over.
        lost: agents that gave up at least once, and had to be restarted.
        gave_up: how often they did.
        back: agents that got a token after recovery.
        last_back: seconds from recovery until the last of all agents had its token; ``None`` if some never had.
        watched: seconds from recovery until the demo ended.
        boundaries: seconds from the start to outage, recovery and the end, on the server's clock.
        ok: token requests answered 200, per ``BUCKET`` seconds from the start.
        refused: all others.
    """

    during_outage: int
    after_recovery: int
    burst: int
    knocks: int
    lost: int
    gave_up: int
    back: int
    last_back: float | None
    watched: float
    boundaries: dict[str, float]
    ok: list[int]
    refused: list[int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def score(plan: Plan, side: Side) -> Score:
    """Ask the server of ``side`` for what it recorded and add it up."""
    marks = side.marks
    start, outage, recovery, end = (marks[name] for name in ("start", OUTAGE, RECOVERY, "end"))
    requests = [r for r in side.colony.requests() if r.path.endswith("/auth/token") and start <= r.at < end]
    requests.sort(key=lambda r: r.at)
    first: dict[str, float] = {}
    for r in requests:
        if r.status == 200 and r.at >= recovery:
            first.setdefault(r.agent, r.at + r.seconds - recovery)
    steps = int((end - start) / BUCKET) + 1
    ok, refused = [0] * steps, [0] * steps
    for r in requests:
        (ok if r.status == 200 else refused)[int((r.at - start) / BUCKET)] += 1
    return Score(
        during_outage=sum(outage <= r.at < recovery for r in requests),
        after_recovery=sum(r.at >= recovery for r in requests),
        burst=_burst([r.at for r in requests if r.at >= recovery]),
        knocks=side.colony.stats().knocks,
        lost=side.figures.get("lost", 0),
        gave_up=side.figures.get("gave_up", 0),
        back=len(first),
        last_back=round(max(first.values()), 3) if len(first) == plan.agents else None,
        watched=round(end - recovery, 3),
        boundaries={name: round(marks[name] - start, 3) for name in (OUTAGE, RECOVERY, "end")},
        ok=ok,
        refused=refused,
    )


def _burst(times: list[float]) -> int:
    """The most of the sorted ``times`` within any ``_BURST`` seconds."""
    return max((bisect_left(times, at + _BURST) - i for i, at in enumerate(times)), default=0)


def rows(plan: Plan, pool: Score, alone: Score) -> list[tuple[str, str, str]]:
    """The table: what, the pool's figure, the other's."""
    pairs: list[tuple[str, str, str]] = []
    for label, show in (
        ("Token requests during the outage", lambda s: f"{s.during_outage:,}"),
        ("Burst at recovery (most in any 0.1 s)", lambda s: f"{s.burst:,}"),
        ("Server knocked over while recovering", lambda s: _times(s.knocks)),
        ("Agents lost (gave up, were restarted)", lambda s: f"{s.lost:,} of {plan.agents:,}"),
        ("Time until the last agent was back", lambda s: _last(s, plan)),
    ):
        pairs.append((label, show(pool), show(alone)))
    return pairs


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _last(s: Score, plan: Plan) -> str:
    if s.last_back is not None:
        return f"{s.last_back:.1f} s"
    return f"never: {plan.agents - s.back:,} still without after {s.watched:.0f} s"
