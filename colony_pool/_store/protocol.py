"""What the processes of a host or a fleet share about one endpoint, and the few verbs in which they do it.

Decisions are shared, not samples: that the breaker is open, who probes, until when the server holds everybody.
Every process counts its own failures, and nothing here is touched while the breaker is closed and a token is at
hand. A store is passive: it has one record, it compares and sets, and it supplies the clock. All times that go in
or come out are *durations* from the moment of the call, in seconds, so that no process needs another's clock.

========== ============================================ =====================================================
record     written by                                   ends
========== ============================================ =====================================================
open       whoever's breaker opens, once a generation    the holder of the lease reports a good probe
lease      ``claim_probe``, one at a time                at its deadline, or with its generation
hold       whoever was told by the server                by itself, or with ``clear_hold``
member     ``join``, while a process has callers parked  by itself, or with ``leave``
key        ``claim_key``, one exchange at a time         by itself, or with ``release_key``
========== ============================================ =====================================================

*Fencing*: each lease has a number, larger than all before it. A prober that was stopped past its lease and resumed
reports with an old number, or after its deadline, and changes nothing. Nor does a lease outlive the generation that
it was given in: who opens or resets over it, ends it.

*Lost answers*: a verb that raised may have been carried out. So an owner that asks again for what it has already, a
lease or a claim, gets it: the lease with a new number, which makes the old one void.

*Lost records*: a store that was emptied knows nothing, but repeats neither a generation nor a fence: what grows,
grows from the store's clock. Compare generations for equality alone. And a probe that was out when the record got
lost still counts: its fence is larger than any that the new record has given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .._core.shared_state import OpenState, SharedDenial, SharedState

__all__ = ["KeyState", "OpenState", "SharedDenial", "SharedState", "Store", "StoreReport", "StoreUnavailable"]


class StoreUnavailable(Exception):
    """The store did not answer, or not with what it should; its words say why. Decide alone, and ask again later."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """Answer to ``claim_key``.

    Arguments:
        mine: the claim was granted; exchange the key, and then ``release_key``.
        busy_for: rest of another process's claim.
        denial: what the endpoint has said of this key, if it is still to be believed.
        token: ``(jwt, seconds of life left)`` when the store carries tokens and has one that is of use.
        view: the breaker and the hold, as of the same moment: with an opening or a hold nothing was claimed.
    """

    mine: bool
    view: SharedState
    busy_for: float = 0.0
    denial: SharedDenial | None = None
    token: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What an operator asks for.

    Arguments:
        view: the breaker, the hold and the members.
        prober: the owner of the lease, ``None`` while nobody probes.
        denied: keys that are refused for the time being.
    """

    view: SharedState
    prober: str | None = None
    denied: int = 0


@runtime_checkable
class Store(Protocol):
    """One endpoint's record, which all pools share that are given it. Provisional: its verbs may still change.

    Every verb is atomic. It returns, or raises ``StoreUnavailable``, and it may block. All times are seconds from the
    moment of the call, so that no process needs the clock of another.

    ``owner`` names a process; after a fork it is another one. A key is given as a keyed hash of the API key, and a
    token is sealed with what only its API key opens: to a store both are mere text.
    """

    @property
    def carries_tokens(self) -> bool:
        """Whether it keeps tokens."""
        ...

    @property
    def fallback(self) -> Store | None:
        """The store that is asked while this one fails: fewer share that, but nobody is alone."""
        ...

    def look(self) -> SharedState:
        """Read; cheap enough to do several times a second."""

    def survey(self) -> StoreReport:
        """Read more than any process at work needs."""

    def open(self, owner: str, generation: int, opening: OpenState) -> SharedState:
        """Open the breaker if the record still is of ``generation``; what is the case then."""

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, SharedState]:
        """Take the lease, if the breaker is open, its delay over, no hold on and nobody else probes; the fence."""

    def conclude(self, owner: str, fence: int, opening: OpenState | None) -> SharedState:
        """Report the probe: closed (``None``) or open again. An old fence, or one that is over, changes nothing."""

    def hold(self, seconds: float, cause: str, *, age: float = 0.0) -> SharedState:
        """Hold everybody, as the server asked ``age`` seconds ago; a hold is never shortened.

        It is none if an operator has ended all holds since.
        """

    def join(self, owner: str, seconds: float) -> SharedState:
        """Count ``owner`` among the members for so long."""

    def leave(self, owner: str) -> None:
        """Count it no more; its lease and its claims end, too."""

    def claim_key(self, owner: str, key: str, seconds: float, *, min_life: float = 0.0) -> KeyState:
        """Take the right to exchange ``key``: unless others have it, or there is a denial or a token already.

        A token that has no more than ``min_life`` seconds left is none: ``owner`` has one that lasts as long.
        """

    def release_key(
        self, owner: str, key: str, *, denial: SharedDenial | None = None, token: tuple[str, float] | None = None
    ) -> None:
        """Give the right back, and say what came of it; nothing if another process has the right by now.

        A ``token`` ends a denial, and is kept by a store that carries tokens.
        """

    def forget_key(self, key: str) -> None:
        """Drop the denial and the token of ``key``."""

    def clear_hold(self) -> None:
        """An operator: no hold, and everybody hears of it."""

    def reset(self, *, keep_hold: bool = False) -> None:
        """An operator: closed, no lease, no denials, no hold. The generation grows, so that everybody hears of it.

        To close the breaker alone is no word on what the server counts: that would ``keep_hold``.
        """

    def close(self) -> None:
        """Close connections and files."""
