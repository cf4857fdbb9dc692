"""What the dispatcher answers: things for the shell to do."""

from __future__ import annotations

from dataclasses import dataclass

from .account import Account, Permit, Waiter
from .events import Event
from .token import Token

# Words of a replay into pybreaker, in the order in which they are to be replayed.
SUCCESS, FAILURE, TO_OPEN, TO_HALF_OPEN, TO_CLOSED = "success", "failure", "open", "half_open", "close"


@dataclass(frozen=True, slots=True)
class Start:
    """Make the attempt that ``permit`` allows."""

    permit: Permit


@dataclass(frozen=True, slots=True)
class Abort:
    """Close the socket of ``permit``'s attempt: nobody waits for its verdict any more."""

    permit: Permit


@dataclass(frozen=True, slots=True)
class Done:
    """Wake ``waiter``: it has its token or its failure."""

    waiter: Waiter


@dataclass(frozen=True, slots=True)
class Grant:
    """``account`` has a new token, or (``None``) has lost the one it had."""

    account: Account
    token: Token | None
    lost: Token | None = None


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Call ``tick`` at ``at``, monotonic seconds; inf for never."""

    at: float


@dataclass(frozen=True, slots=True)
class Replay:
    """Tell pybreaker what happened."""

    what: str


# An event among the actions is to be told to the listeners.
Action = Start | Abort | Done | Grant | WakeAt | Replay | Event
