"""One store that a process may ask: the calls on it, in their order, and what it has granted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._core import actions as act
from .._runtime.protocol import Runtime
from .health import StoreHealth
from .protocol import Store
from .worker import StoreOp, StoreWorker

_LEADER = "lead"  # the name of what one process at a time has that goes on while everything fails; no key's

VERBS: dict[type, Callable[[Store, str, Any, float], Any]] = {
    act.RequestProbeLease: lambda store, owner, action, _: store.claim_probe(owner, action.seconds),
    act.PollStore: lambda store, owner, action, _: (
        store.join(owner, action.join_for) if action.join_for else store.look()
    ),
    act.RequestLeadership: lambda store, owner, action, _: store.claim_key(owner, _LEADER, action.seconds),
    act.ReleaseLeadership: lambda store, owner, _, __: store.release_key(owner, _LEADER),
    act.LeaveGroup: lambda store, owner, _, __: store.leave(owner),
    act.PublishOpen: lambda store, owner, action, _: store.open(owner, action.generation, action.opening),
    act.ReportProbe: lambda store, owner, action, _: store.conclude(owner, action.fence, action.opening),
    # An operator may have ended it while it waited for its turn.
    act.PublishRateLimit: lambda store, _, action, now: store.hold(
        action.seconds, action.cause, age=max(0.0, now - action.since)
    ),
    act.PublishReset: lambda store, _, __, ___: store.reset(keep_hold=True),
    act.PublishClear: lambda store, _, __, ___: store.clear_hold(),
}


class StoreConnection:
    """A store and the way to it.

    Arguments:
        owner: this process.
        claims: keys are claimed here before they are exchanged: the others can find what comes of it.
    """

    def __init__(self, store: Store, owner: str, runtime: Runtime, health: StoreHealth, *, claims: bool) -> None:
        self.owner = owner
        self.health = health
        self._monotonic = runtime.monotonic
        # A member for no time at all: it changes nothing that counts, and has to be written.
        self.worker = StoreWorker(store, runtime, health, ping=lambda store: store.join(f"{owner}/ping", 0.0))
        self.claims = claims
        self.seals = store.carries_tokens
        self.fence: int | None = None  # of the lease that it gave last

    def begin(self, action: act.ForStore) -> StoreOp[Any]:
        """Have the store do what ``action`` wants of it; never waits."""
        # Whoever probes or leads waits for leave to; nobody waits for the rest.
        waits = isinstance(action, (act.RequestProbeLease, act.RequestLeadership))
        begin = self.worker.ask if waits else self.worker.begin
        return begin(lambda store: VERBS[type(action)](store, self.owner, action, self._monotonic()))

    def close(self, *, for_good: bool) -> None:
        """Leave, and ``for_good`` close the store; without the time for it, what it keeps of us ends by itself."""
        if self.worker.made:
            self.worker.begin(lambda store: store.leave(self.owner))
            if for_good:
                self.worker.close()
