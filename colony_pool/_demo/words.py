"""What a reader must know to judge the figures; for the terminal and the page alike."""

from __future__ import annotations

from .plan import SCALE, Plan


def notes(plan: Plan) -> str:
    """How both sides were set up, and who counted."""
    return (
        f"All schedules run {SCALE:.0f} times faster than in life; the server does not. Pool: defaults, with a max_wait "
        "of two hours. On its own: 7 attempts, 2, 4, 8, 16, 32 and 60 s apart, then a restart after a minute. The "
        f"recovering server bears {plan.rate:.0f} token requests a second, so {plan.ideal:.1f} s would be ideal; "
        f"{plan.rate:.0f} too many within a second knock it over for a second. The agents themselves count who is "
        "lost; everything else is what the servers counted."
    )
