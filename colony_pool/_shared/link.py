"""The link between a desk and the store that its process shares with others.

It decides nothing. What the desk wants of the store it carries there, and what the store says, or that it says
nothing, it puts to the desk as an input. Before an exchange it claims the key, so that one process at a time
exchanges it, and afterwards it says what came of it.
"""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from .._core import actions as act
from .._core.account import Account, Permit
from .._core.dispatch import Dispatcher
from .._core.life import claims_expiry
from .._core.outcome import DENIED, OK, Outcome, is_token
from .._core.view import Denial, Elsewhere, View
from .._runtime.protocol import Runtime
from .bounded import BoundedStore, Bounds
from .calls import Call
from .health import Health, Patience
from .keys import Sealer, key_name
from .lane import Lane
from .store import KeyState, Store, StoreUnavailable

_CLAIM = 10.0  # seconds that others wait for an exchange of ours
_ALIKE = 1.0  # tokens that end this close are one
_NO_TOKEN = 1e9  # seconds: no token lives longer, so that none is told of
Step = Callable[[float, float], list[act.Action]]
Feed = Callable[[Step], object]


class Link:
    """One process at its store, and at the store's fallback while that fails.

    Arguments:
        store: has its first call when something is first wanted of it.
        desk: whose actions are carried, and who hears of the answers.
        name: the pool's, for the log.
        base_url: the API, to which the names of keys are bound.
        on_disk: ``(jwt, expiry in unix time)`` that another process has left on this host for an API key; ``None``
            if none can.
        claims: keys are claimed before they are exchanged: the others can find what comes of it.
        owns_store: the store is closed with the link.
    """

    def __init__(
        self, store: Store, desk: Dispatcher, runtime: Runtime, *, name: str, base_url: str,
        on_disk: Callable[[str], tuple[str, float] | None] | None, claims: bool, owns_store: bool,
    ) -> None:  # fmt: skip
        self.owner = _owner()
        self._lanes = _lanes(store, self.owner, desk, runtime, name, claims=claims, on_host=on_disk is not None)
        self._heard = self._lanes[0]  # the one whose answer was the last
        self.health = self._lanes[0].health
        self.claims = claims
        self._desk = desk
        self._runtime = runtime
        self.feed: Feed = lambda step: None  # puts one input to the desk
        self._base_url = base_url
        self._on_disk = on_disk
        self._owns_store = owns_store

    # -- what the desk wants --------------------------------------------------------------------------

    def carry(self, action: act.ForStore) -> None:
        """Carry ``action`` to the store; never waits."""
        lanes = self._lanes
        if isinstance(action, act.Conclude):  # a fence means nothing to another store than the one that gave it
            lanes = [lane for lane in lanes if lane.fence == action.fence] or lanes[:1]
        call = lanes[0].begin(action)
        with suppress(RuntimeError):  # no thread: the desk has a deadline of its own
            self._runtime.spawn(self._bring_back, action, lanes, call, home=self._runtime.home())

    def _bring_back(self, action: act.ForStore, lanes: list[Lane], first: Call[Any]) -> None:
        desk = self._desk
        for lane in lanes:
            call = first if lane is lanes[0] else lane.begin(action)
            with suppress(StoreUnavailable):
                self._answer(action, lane, lane.calls.wait(call))
                return
        self.feed(lambda now, wall: desk.unavailable(action, now, wall))
        if isinstance(action, act.Ask) and first.ended.wait(action.seconds) and first.answer:
            self._answer_to(action, lanes[0], *first.answer[0], late=True)

    def _answer(self, action: act.ForStore, lane: Lane, answer: Any) -> None:
        desk = self._desk
        self._listen_to(lane)
        if isinstance(action, act.Ask):
            self._answer_to(action, lane, *answer)
        elif isinstance(action, act.Lead):
            state: KeyState = answer
            busy = state.busy_for > 0.0
            self.feed(lambda now, wall: desk.led(action, state.view, busy=busy, now=now, wall=wall))
        elif isinstance(action, (act.Look, act.TellOpen, act.Conclude, act.TellHold)):
            view: View = answer
            self.feed(lambda now, wall: desk.learn(view, action.asked, now, wall))

    def _answer_to(self, ask: act.Ask, lane: Lane, fence: int | None, view: View, *, late: bool = False) -> None:
        desk = self._desk
        if fence is not None:
            lane.fence = fence
            self.feed(lambda now, wall: desk.granted(ask, fence, now, wall))
        elif not late:
            self.feed(lambda now, wall: desk.refused(ask, view, now, wall))

    def _listen_to(self, lane: Lane) -> None:
        """What follows is of the record in ``lane``."""
        if lane is not self._heard:
            self._heard = lane
            desk, to_fallback = self._desk, lane is not self._lanes[0]
            self.feed(lambda now, wall: desk.moved(now, wall, to_fallback=to_fallback))

    # -- one exchange per key -------------------------------------------------------------------------

    def claim(self, permit: Permit) -> Elsewhere | None:
        """Claim the key of ``permit``: ``None`` to exchange it, else where to look for what comes of it."""
        if not self.claims or permit.is_probe:  # a probe has the lease
            return None
        key = permit.account.secret.key
        name = key_name(key, self._base_url)
        beyond = self._beyond(permit.account)
        for lane in self._lanes:
            if not lane.claims:
                return None
            try:
                state = lane.calls.wait(lane.calls.ask(partial(self._claim_key, key, name, beyond)))
            except StoreUnavailable:
                continue
            self._listen_to(lane)
            permit.claimed = lane if state.mine else None
            found = self._found(permit, key, state)
            if found is not None and state.mine:
                self.release(permit, None)
            return found
        return None

    def _claim_key(self, key: str, name: str, beyond: float, store: Store) -> KeyState:
        """Claim ``key``; a token in the store that is none, or has ended, is dropped for it."""
        state = store.claim_key(self.owner, name, _CLAIM, beyond=beyond)
        if state.token is None or self._opened(key, state.token) is not None:
            return state
        store.forget_key(name)
        return store.claim_key(self.owner, name, _CLAIM, beyond=beyond)

    def _opened(self, key: str, told: tuple[str, float]) -> tuple[str, float] | None:
        """``(jwt, seconds of life)`` of a sealed token, which does not outlive its own ``exp``."""
        jwt = Sealer(key, self._base_url).unseal(told[0])
        if jwt is None or not is_token(jwt):
            return None
        ends = claims_expiry(jwt)
        life = told[1] if ends is None else min(told[1], ends - self._runtime.now())
        return (jwt, life) if life > 0.0 else None

    def _found(self, permit: Permit, key: str, state: KeyState) -> Elsewhere | None:
        wall, account = self._runtime.now(), permit.account
        if (token := self._unsealed(account, state)) is not None:
            return Elsewhere(token=token)
        if state.denial is not None:
            return Elsewhere(denial=state.denial)
        if not state.mine and self._is_news(state.view):
            return Elsewhere(view=state.view)
        left = self._on_disk(key) if self._on_disk is not None and (state.mine or state.busy_for > 0.0) else None
        if left is not None and account.is_news(*left):
            return Elsewhere(token=(left[0], left[1] - wall))
        return Elsewhere() if state.busy_for > 0.0 else None

    def _beyond(self, account: Account) -> float:
        """Seconds that a token in the store must have left to be of use."""
        if account.record.ask_anew:
            return _NO_TOKEN
        token = account.token  # read once, as in ``release``
        return 0.0 if token is None else max(0.0, token.ends_wall + _ALIKE - self._runtime.now())

    def _unsealed(self, account: Account, state: KeyState) -> tuple[str, float] | None:
        """The token in the store, and seconds that it has left, if it is of use."""
        if state.token is None:
            return None
        found = self._opened(account.secret.key, state.token)
        return found if found is not None and account.record.is_usable(found[0]) else None

    def newer(self, account: Account) -> tuple[str, float] | None:
        """Another token of ``account`` that is in the store, and seconds that it has left; waits as for a claim."""
        name = key_name(account.secret.key, self._base_url)
        flight = account.flight
        if flight is not None and flight.permit is not None:  # its claim must not end
            return None
        for lane in self._lanes:
            if not (lane.claims and lane.seals):
                continue
            try:
                state = lane.calls.wait(lane.calls.ask(lambda store: store.claim_key(self.owner, name, _CLAIM)))
            except StoreUnavailable:
                continue
            self._listen_to(lane)
            if state.mine:
                lane.calls.begin(lambda store: store.release_key(self.owner, name))
            return self._unsealed(account, state)
        return None

    def _is_news(self, view: View) -> bool:
        fleet = self._desk.fleet
        opened = view.opening is not None and fleet is not None and view.generation != fleet.generation
        return opened or (view.hold_for > 0.0 and self._desk.hold_until <= self._runtime.monotonic())

    def release(self, permit: Permit, outcome: Outcome | None) -> None:
        """Give the claim of ``permit`` back, with what came of it; never waits."""
        lane: Lane | None = permit.claimed
        if lane is None:
            return
        permit.claimed = None
        account = permit.account
        key = account.secret.key
        name = key_name(key, self._base_url)
        denial, token = None, None
        known, granted = account.denial, account.token  # read once: the token may be invalidated at any moment
        if outcome is not None and outcome.kind == DENIED and known is not None and not known.code_only:
            rest = known.until - self._runtime.monotonic()
            denial = Denial(rest, known.times, outcome.status, outcome.code, outcome.detail)
        elif lane.seals and outcome is not None and outcome.kind == OK and granted is not None:
            sealed = Sealer(key, self._base_url).seal(granted.jwt)
            token = (sealed, granted.ends - self._runtime.monotonic())
        lane.calls.begin(lambda store: store.release_key(self.owner, name, denial=denial, token=token))

    def forget(self, key: str) -> None:
        """Have the others forget what came of ``key`` the last time; never waits."""
        name = key_name(key, self._base_url)
        for lane in self._lanes:
            if lane.claims and (lane is self._lanes[0] or lane.calls.made):
                lane.calls.begin(lambda store: store.forget_key(name))

    def write_by(self, post: Callable[[Callable[[], object]], object]) -> None:
        """Have log handlers called by way of ``post``: one may hang."""
        for lane in self._lanes:
            lane.health.write_by(post)

    def close(self) -> None:
        """Leave."""
        for lane in self._lanes:
            lane.close(for_good=self._owns_store)


def _lanes(
    store: Store, owner: str, desk: Dispatcher, runtime: Runtime, name: str, *, claims: bool, on_host: bool
) -> list[Lane]:
    """The lane of ``store``, and of its fallback if it has one."""
    bounds = Bounds.of(desk.config)
    store = BoundedStore(store, bounds, runtime.monotonic)
    patience = Patience(runtime, _idle_at(desk))
    if (fallback := store.fallback) is None:
        return [Lane(store, owner, runtime, Health(name, runtime, patience), claims=claims)]
    first = Health(name, runtime, patience, meanwhile="the processes of this host go on together")
    fallback = BoundedStore(fallback, bounds, runtime.monotonic)
    second = Health(name, runtime, patience, what="the record of this host, which stands in for it,")
    return [
        Lane(store, owner, runtime, first, claims=claims),
        Lane(fallback, owner, runtime, second, claims=claims and (fallback.carries_tokens or on_host)),
    ]


def _owner() -> str:
    """Name this process so that no other has the name, and an operator finds it."""
    return f"{platform.node() or 'somewhere'}/{os.getpid()}/{uuid.uuid4().hex[:12]}"


def _idle_at(desk: Dispatcher) -> Callable[[], float]:
    return lambda: desk.fleet.idle_at if desk.fleet is not None else float("-inf")
