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
from typing import Any

from .._core import actions as act
from .._core.account import Permit
from .._core.dispatch import Dispatcher
from .._core.outcome import DENIED, OK, Outcome
from .._core.view import Denial, Elsewhere, View
from .._runtime.protocol import Runtime
from .calls import Call, Calls, Health
from .keys import Sealer, key_name
from .store import KeyState, Store, StoreUnavailable

_CLAIM = 10.0  # seconds that others wait for an exchange of ours
_LEADER = "lead"  # the name of what one process at a time has that goes on while everything fails; no key's
_ALIKE = 1.0  # tokens that end this close are one
Step = Callable[[float, float], list[act.Action]]
Feed = Callable[[Step], object]

VERBS: dict[type, Callable[[Store, str, Any], Any]] = {
    act.Ask: lambda store, owner, ask: store.claim_probe(owner, ask.seconds),
    act.Look: lambda store, owner, look: store.join(owner, look.join_for) if look.join_for else store.look(),
    act.Lead: lambda store, owner, lead: store.claim_key(owner, _LEADER, lead.seconds),
    act.EndLead: lambda store, owner, _: store.release_key(owner, _LEADER),
    act.Leave: lambda store, owner, _: store.leave(owner),
    act.TellOpen: lambda store, owner, told: store.open(owner, told.generation, told.opening),
    act.Conclude: lambda store, owner, told: store.conclude(owner, told.fence, told.opening),
    act.TellHold: lambda store, _, told: store.hold(told.seconds, told.cause),
    act.TellReset: lambda store, _, __: store.reset(),
}


class Link:
    """One process at its store.

    Arguments:
        store: has its first call when something is first wanted of it.
        desk: whose actions are carried, and who hears of the answers.
        name: the pool's, for the log.
        base_url: the API, to which the names of keys are bound.
        on_disk: ``(jwt, expiry in unix time)`` that another process has left on this host for an API key.
        claims: keys are claimed before they are exchanged: the others can find what comes of it.
        owns_store: the store is closed with the link.
    """

    def __init__(
        self, store: Store, desk: Dispatcher, runtime: Runtime, *, name: str, base_url: str,
        on_disk: Callable[[str], tuple[str, float] | None], claims: bool, owns_store: bool,
    ) -> None:  # fmt: skip
        self.owner = _owner()
        self.health = Health(name, runtime, _idle_at(desk))
        self._calls = Calls(store, runtime, self.health)
        self._desk = desk
        self._runtime = runtime
        self.feed: Feed = lambda step: None  # puts one input to the desk
        self._base_url = base_url
        self._seals = store.carries_tokens
        self._on_disk = on_disk
        self._owns_store = owns_store
        self.claims = claims

    # -- what the desk wants --------------------------------------------------------------------------

    def carry(self, action: act.ForStore) -> None:
        """Carry ``action`` to the store; never waits."""
        # Whoever probes or leads waits for leave to; nobody waits for the rest.
        begin = self._calls.ask if isinstance(action, (act.Ask, act.Lead)) else self._calls.begin
        call = begin(lambda store: VERBS[type(action)](store, self.owner, action))
        with suppress(RuntimeError):  # no thread: the desk has a deadline of its own
            self._runtime.spawn(self._bring_back, action, call, home=self._runtime.home())

    def _bring_back(self, action: act.ForStore, call: Call[Any]) -> None:
        desk = self._desk
        try:
            answer = self._calls.wait(call)
        except StoreUnavailable:
            self.feed(lambda now, wall: desk.unavailable(action, now, wall))
            if isinstance(action, act.Ask) and call.ended.wait(action.seconds) and call.answer:
                self._answer_to(action, *call.answer[0], late=True)
            return
        if isinstance(action, act.Ask):
            self._answer_to(action, *answer)
        elif isinstance(action, act.Lead):
            state: KeyState = answer
            busy = state.busy_for > 0.0
            self.feed(lambda now, wall: desk.led(action, state.view, busy=busy, now=now, wall=wall))
        elif isinstance(action, (act.Look, act.TellOpen, act.Conclude, act.TellHold)):
            view: View = answer
            self.feed(lambda now, wall: desk.learn(view, action.asked, now, wall))

    def _answer_to(self, ask: act.Ask, fence: int | None, view: View, *, late: bool = False) -> None:
        desk = self._desk
        if fence is not None:
            self.feed(lambda now, wall: desk.granted(ask, fence, now, wall))
        elif not late:
            self.feed(lambda now, wall: desk.refused(ask, view, now, wall))

    # -- one exchange per key -------------------------------------------------------------------------

    def claim(self, permit: Permit) -> Elsewhere | None:
        """Claim the key of ``permit``: ``None`` to exchange it, else where to look for what comes of it."""
        if not self.claims or permit.is_probe:  # a probe has the lease
            return None
        key = permit.account.secret.key
        name = key_name(key, self._base_url)
        beyond = max(0.0, _known_end(permit) + _ALIKE - self._runtime.now())
        try:
            state = self._calls.wait(
                self._calls.ask(lambda store: store.claim_key(self.owner, name, _CLAIM, beyond=beyond))
            )
        except StoreUnavailable:
            return None
        permit.claimed = state.mine
        found = self._found(permit, key, state)
        if found is not None and state.mine:
            self.release(permit, None)
        return found

    def _found(self, permit: Permit, key: str, state: KeyState) -> Elsewhere | None:
        wall, known = self._runtime.now(), _known_end(permit)
        if state.token is not None:
            jwt = Sealer(key, self._base_url).unseal(state.token[0])
            if jwt is not None:
                return Elsewhere(token=(jwt, state.token[1]))
        if state.denial is not None:
            return Elsewhere(denial=state.denial)
        if not state.mine and self._is_news(state.view):
            return Elsewhere(view=state.view)
        if (state.mine or state.busy_for > 0.0) and (left := self._on_disk(key)) and left[1] > known + _ALIKE:
            return Elsewhere(token=(left[0], left[1] - wall))
        return Elsewhere() if state.busy_for > 0.0 else None

    def _is_news(self, view: View) -> bool:
        fleet = self._desk.fleet
        opened = view.opening is not None and fleet is not None and view.generation != fleet.generation
        return opened or (view.hold_for > 0.0 and self._desk.hold_until <= self._runtime.monotonic())

    def release(self, permit: Permit, outcome: Outcome | None) -> None:
        """Give the claim of ``permit`` back, with what came of it; never waits."""
        if not permit.claimed:
            return
        permit.claimed = False
        account = permit.account
        key = account.secret.key
        name = key_name(key, self._base_url)
        denial, token = None, None
        known, granted = account.denial, account.token  # read once: the token may be invalidated at any moment
        if outcome is not None and outcome.kind == DENIED and known is not None and not known.code_only:
            rest = known.until - self._runtime.monotonic()
            denial = Denial(rest, known.times, outcome.status, outcome.code, outcome.detail)
        elif self._seals and outcome is not None and outcome.kind == OK and granted is not None:
            sealed = Sealer(key, self._base_url).seal(granted.jwt)
            token = (sealed, granted.ends - self._runtime.monotonic())
        self._calls.begin(lambda store: store.release_key(self.owner, name, denial=denial, token=token))

    def forget(self, key: str) -> None:
        """Have the others forget what came of ``key`` the last time; never waits."""
        if self.claims:
            name = key_name(key, self._base_url)
            self._calls.begin(lambda store: store.forget_key(name))

    def close(self) -> None:
        """Leave; what the store keeps of this process ends by itself, should there be no time."""
        if self._calls.made:
            self._calls.begin(lambda store: store.leave(self.owner))
            if self._owns_store:
                self._calls.begin(lambda store: store.close())


def _owner() -> str:
    """Name this process so that no other has the name, and an operator finds it."""
    return f"{platform.node() or 'somewhere'}/{os.getpid()}/{uuid.uuid4().hex[:12]}"


def _idle_at(desk: Dispatcher) -> Callable[[], float]:
    return lambda: desk.fleet.idle_at if desk.fleet is not None else float("-inf")


def _known_end(permit: Permit) -> float:
    """Unix time at which the last token of the key ends that this process knows of."""
    token, expiry = permit.account.token, permit.account.last_expiry  # read once, as in ``release``
    held = token.ends_wall if token is not None else float("-inf")
    return max(held, expiry if expiry is not None else float("-inf"))
