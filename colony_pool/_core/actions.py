"""What the dispatcher answers: things for its driver to do."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .account import Account
from .events import Event
from .flight import Permit, Waiter
from .shared_state import OpenState
from .token import Token


class Outbox:
    """A list of actions that grows while an input is decided, and is taken at its end."""

    __slots__ = ("_actions",)

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def add(self, action: Action) -> None:
        """Append one action."""
        self._actions.append(action)

    def take(self) -> list[Action]:
        """Return what has been added since the last time."""
        actions, self._actions = self._actions, []
        return actions


# What pybreaker can be told.
SUCCESS, FAILURE, TO_OPEN, TO_HALF_OPEN, TO_CLOSED = "success", "failure", "open", "half_open", "close"


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Make the attempt that ``permit`` allows; ``waiter`` is one of those for whom it is made, if there is one."""

    permit: Permit
    waiter: Waiter | None


@dataclass(frozen=True, slots=True)
class AskCode:
    """Ask the key's callable for a one-time code, in a task of its own; ``waiter`` as above."""

    account: Account
    waiter: Waiter | None


@dataclass(frozen=True, slots=True)
class CancelAttempt:
    """Close the socket of ``permit``'s attempt: nobody waits for its verdict any more."""

    permit: Permit


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake ``waiter``: it has its token or its failure."""

    waiter: Waiter


@dataclass(frozen=True, slots=True)
class TokenChanged:
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
class MirrorToPybreaker:
    """Tell pybreaker what happened."""

    what: str


# -- for the store that processes share; ``asked`` is the breaker's generation, and comes back with the answer -----


@dataclass(frozen=True, slots=True)
class RequestProbeLease:
    """Ask for the right to probe, for so many ``seconds``: granted, refused or unavailable."""

    asked: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PollStore:
    """Read what the others know; with ``join_for`` above 0 count among the members for so many seconds."""

    asked: int
    join_for: float


@dataclass(frozen=True, slots=True)
class RequestLeadership:
    """Ask to be the one process that goes on while everything fails, for so many ``seconds``."""

    asked: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ReleaseLeadership:
    """Something succeeded: the others may find out for themselves."""


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Nobody waits here any more."""


@dataclass(frozen=True, slots=True)
class PublishOpen:
    """The breaker has opened here; ``generation`` is the record's, as this process knows it."""

    asked: int
    generation: int
    opening: OpenState


@dataclass(frozen=True, slots=True)
class ReportProbe:
    """Report the probe that ``fence`` allowed: closed (``None``) or open again."""

    asked: int
    fence: int
    opening: OpenState | None


@dataclass(frozen=True, slots=True)
class PublishReset:
    """An operator has closed the breaker."""


@dataclass(frozen=True, slots=True)
class PublishClear:
    """An operator has ended the pause."""


@dataclass(frozen=True, slots=True)
class PublishRateLimit:
    """The server has asked everybody to wait for so many ``seconds``; ``since``: when, monotonic."""

    asked: int
    seconds: float
    cause: str
    since: float = math.inf


ForStore = (
    RequestProbeLease
    | PollStore
    | RequestLeadership
    | ReleaseLeadership
    | LeaveGroup
    | PublishOpen
    | ReportProbe
    | PublishReset
    | PublishClear
    | PublishRateLimit
)
# An event among the actions is to be told to the listeners.
Action = StartAttempt | AskCode | CancelAttempt | Wake | TokenChanged | WakeAt | MirrorToPybreaker | ForStore | Event
