"""What the dispatcher answers: things for the shell to do."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from .account import Account, Permit, Waiter
from .events import Event
from .token import Token
from .view import Opening

# Words of a replay into pybreaker, in the order in which they are to be replayed.
SUCCESS, FAILURE, TO_OPEN, TO_HALF_OPEN, TO_CLOSED = "success", "failure", "open", "half_open", "close"


@dataclass(frozen=True, slots=True)
class Start:
    """Make the attempt that ``permit`` allows."""

    permit: Permit


@dataclass(frozen=True, slots=True)
class AskCode:
    """Ask the key's callable for a one-time code, in a task of its own; ``home`` is where it may run."""

    account: Account
    home: Hashable | None


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
    exchanged: bool = False  # this process has asked the server for it


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Call ``tick`` at ``at``, monotonic seconds; inf for never."""

    at: float


@dataclass(frozen=True, slots=True)
class Replay:
    """Tell pybreaker what happened."""

    what: str


# -- for the store that processes share; ``asked`` is the breaker's generation, and comes back with the answer -----


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for the right to probe, for so many ``seconds``: granted, refused or unavailable, within ``ANSWER``."""

    asked: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """Read what the others know; with ``join_for`` above 0 count among the members for so many seconds."""

    asked: int
    join_for: float


@dataclass(frozen=True, slots=True)
class Lead:
    """Ask to be the one process that goes on while everything fails, for so many ``seconds``."""

    asked: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EndLead:
    """Something succeeded: the others may find out for themselves."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Nobody waits here any more."""


@dataclass(frozen=True, slots=True)
class TellOpen:
    """The breaker has opened here; ``generation`` is the record's, as this process knows it."""

    asked: int
    generation: int
    opening: Opening


@dataclass(frozen=True, slots=True)
class Conclude:
    """Report the probe that ``fence`` allowed: closed (``None``) or open again."""

    asked: int
    fence: int
    opening: Opening | None


@dataclass(frozen=True, slots=True)
class TellReset:
    """An operator has closed the breaker."""


@dataclass(frozen=True, slots=True)
class TellClear:
    """An operator has ended the hold."""


@dataclass(frozen=True, slots=True)
class TellHold:
    """The server has asked everybody to wait for so many ``seconds``; ``since``: when, monotonic."""

    asked: int
    seconds: float
    cause: str
    since: float = math.inf


ForStore = Ask | Look | Lead | EndLead | Leave | TellOpen | Conclude | TellReset | TellClear | TellHold
# An event among the actions is to be told to the listeners.
Action = Start | AskCode | Abort | Done | Grant | WakeAt | Replay | ForStore | Event
