"""The client of the store that a process shares with others.

It decides nothing. What the dispatcher wants of the store it carries there, and what the store says, or that it says
nothing, it puts to the dispatcher as an input. Before an exchange it claims the key, so that one process at a time
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
from .._core.account import Account
from .._core.dispatcher import Dispatcher
from .._core.flight import Permit
from .._core.instant import Instant
from .._core.outcome import OK, REJECTED, Outcome, is_token
from .._core.shared_state import HandledElsewhere, SharedDenial, SharedState
from .._core.token import claims_expiry
from .._log import AT_ONCE, Lines
from .._runtime.protocol import Runtime
from .bounded import BoundedStore, Bounds
from .connection import StoreConnection
from .health import LatencyBudget, StoreHealth
from .protocol import KeyState, Store, StoreUnavailable
from .sealing import Sealer, key_name
from .worker import StoreOp

_CLAIM = 10.0  # seconds that others wait for an exchange of ours
_ALIKE = 1.0  # tokens that end this close are one
_NO_TOKEN = 1e9  # seconds: no token lives longer, so that none is told of
Step = Callable[[Instant], list[act.Action]]
Reply = Callable[[Step], object]


class StoreClient:
    """One process at its store, and at the store's fallback while that fails.

    Arguments:
        store: has its first call when something is first wanted of it.
        dispatcher: whose actions are carried, and who hears of the answers.
        name: the pool's, for the log.
        base_url: the API, to which the names of keys are bound.
        on_disk: ``(jwt, expiry in unix time)`` that another process has left on this host for an API key; ``None``
            if none can.
        claims: keys are claimed before they are exchanged: the others can find what comes of it.
        owns_store: the store is closed with the client.
        lines: writes to the log, and keeps nobody.
    """

    def __init__(
        self, store: Store, dispatcher: Dispatcher, runtime: Runtime, *, name: str, base_url: str,
        on_disk: Callable[[str], tuple[str, float] | None] | None, claims: bool, owns_store: bool,
        lines: Lines = AT_ONCE,
    ) -> None:  # fmt: skip
        self.owner = _owner()
        self._connections = _connections(
            store, self.owner, dispatcher, runtime, name, lines, claims=claims, on_host=on_disk is not None
        )
        self._heard = self._connections[0]  # the one whose answer was the last
        self.health = self._connections[0].health
        self.claims = claims
        self._dispatcher = dispatcher
        self._runtime = runtime
        self._claims: dict[Permit, StoreConnection] = {}  # of attempts that are out: the store that allowed each
        self._base_url = base_url
        self._on_disk = on_disk
        self._owns_store = owns_store

    # -- what the dispatcher wants --------------------------------------------------------------------------

    def submit(self, action: act.ForStore, reply: Reply) -> None:
        """Have the store do ``action``, and put what it answers to ``reply``; never waits."""
        connections = self._connections
        if isinstance(action, act.ReportProbe):  # a fence means nothing to another store than the one that gave it
            connections = [
                connection for connection in connections if connection.fence == action.fence
            ] or connections[:1]
        call = connections[0].begin(action)
        with suppress(RuntimeError):  # no thread: the dispatcher has a deadline of its own
            self._runtime.spawn(
                self._bring_back, action, reply, connections, call, context=self._runtime.current_context()
            )

    def _bring_back(
        self, action: act.ForStore, reply: Reply, connections: list[StoreConnection], first: StoreOp[Any]
    ) -> None:
        dispatcher = self._dispatcher
        for connection in connections:
            call = first if connection is connections[0] else connection.begin(action)
            with suppress(StoreUnavailable):
                self._answer(action, reply, connection, connection.worker.wait(call))
                return
        reply(lambda at: dispatcher.unavailable(action, at))
        if isinstance(action, act.RequestProbeLease) and first.ended.wait(action.seconds) and first.answer:
            self._answer_to(action, reply, connections[0], *first.answer[0], late=True)

    def _answer(self, action: act.ForStore, reply: Reply, connection: StoreConnection, answer: Any) -> None:
        dispatcher = self._dispatcher
        self._listen_to(connection, reply)
        if isinstance(action, act.RequestProbeLease):
            self._answer_to(action, reply, connection, *answer)
        elif isinstance(action, act.RequestLeadership):
            state: KeyState = answer
            busy = state.busy_for > 0.0
            reply(lambda at: dispatcher.led(action, state.view, at, busy=busy))
        elif isinstance(action, (act.PollStore, act.PublishOpen, act.ReportProbe, act.PublishRateLimit)):
            view: SharedState = answer
            reply(lambda at: dispatcher.learn(view, action.asked, at))

    def _answer_to(
        self, ask: act.RequestProbeLease, reply: Reply, connection: StoreConnection, fence: int | None,
        view: SharedState, *, late: bool = False,
    ) -> None:  # fmt: skip
        dispatcher = self._dispatcher
        if fence is not None:
            connection.fence = fence
            reply(lambda at: dispatcher.granted(ask, fence, at))
        elif not late:
            reply(lambda at: dispatcher.refused(ask, view, at))

    def _listen_to(self, connection: StoreConnection, reply: Reply) -> None:
        """What follows is of the record in ``connection``."""
        if connection is not self._heard:
            self._heard = connection
            dispatcher, to_fallback = self._dispatcher, connection is not self._connections[0]
            reply(lambda at: dispatcher.moved(at, to_fallback=to_fallback))

    # -- one exchange per key -------------------------------------------------------------------------

    def claim(self, permit: Permit, reply: Reply) -> HandledElsewhere | None:
        """Claim the key of ``permit``: ``None`` to exchange it, else where to look for what comes of it.

        What it learns by the way is put to ``reply``.
        """
        if not self.claims or permit.is_probe:  # a probe has the lease
            return None
        key = permit.account.owner.credential.key
        name = key_name(key, self._base_url)
        min_life = self._min_life(permit.account)
        for connection in self._connections:
            if not connection.claims:
                return None
            try:
                state = connection.worker.wait(connection.worker.ask(partial(self._claim_key, key, name, min_life)))
            except StoreUnavailable:
                continue
            self._listen_to(connection, reply)
            if state.mine:
                self._claims[permit] = connection
            found = self._found(permit, key, state)
            if found is not None and state.mine:
                self.release(permit, None)
            return found
        return None

    def _claim_key(self, key: str, name: str, min_life: float, store: Store) -> KeyState:
        """Claim ``key``; a token in the store that is none, or has ended, is dropped for it."""
        state = store.claim_key(self.owner, name, _CLAIM, min_life=min_life)
        if state.token is None or self._opened(key, state.token) is not None:
            return state
        store.forget_key(name)
        return store.claim_key(self.owner, name, _CLAIM, min_life=min_life)

    def _opened(self, key: str, sealed: tuple[str, float]) -> tuple[str, float] | None:
        """``(jwt, seconds of life)`` of a sealed token, which does not outlive its own ``exp``."""
        jwt = Sealer(key, self._base_url).unseal(sealed[0])
        if jwt is None or not is_token(jwt):
            return None
        ends = claims_expiry(jwt)
        life = sealed[1] if ends is None else min(sealed[1], ends - self._runtime.now())
        return (jwt, life) if life > 0.0 else None

    def _found(self, permit: Permit, key: str, state: KeyState) -> HandledElsewhere | None:
        wall, account = self._runtime.now(), permit.account
        if (token := self._unsealed(account, state)) is not None:
            return HandledElsewhere(token=token)
        if state.denial is not None:
            return HandledElsewhere(denial=state.denial)
        if not state.mine and self._is_news(state.view):
            return HandledElsewhere(view=state.view)
        left = self._on_disk(key) if self._on_disk is not None and (state.mine or state.busy_for > 0.0) else None
        if left is not None and account.is_news(*left):
            return HandledElsewhere(token=(left[0], left[1] - wall))
        return HandledElsewhere() if state.busy_for > 0.0 else None

    def _min_life(self, account: Account) -> float:
        """Seconds that a token in the store must have left to be of use."""
        if account.record.ask_anew:
            return _NO_TOKEN
        token = account.token  # read once, as in ``release``
        return 0.0 if token is None else max(0.0, token.ends_wall + _ALIKE - self._runtime.now())

    def _unsealed(self, account: Account, state: KeyState) -> tuple[str, float] | None:
        """The token in the store, and seconds that it has left, if it is of use."""
        if state.token is None:
            return None
        found = self._opened(account.owner.credential.key, state.token)
        return found if found is not None and account.record.is_usable(found[0]) else None

    def newer(self, account: Account, reply: Reply) -> tuple[str, float] | None:
        """Another token of ``account`` that is in the store, and seconds that it has left; waits as for a claim."""
        name = key_name(account.owner.credential.key, self._base_url)
        flight = self._dispatcher.waiters.flights.get(account)
        if flight is not None and flight.permit is not None:  # its claim must not end
            return None
        for connection in self._connections:
            if not (connection.claims and connection.seals):
                continue
            try:
                state = connection.worker.wait(
                    connection.worker.ask(lambda store: store.claim_key(self.owner, name, _CLAIM))
                )
            except StoreUnavailable:
                continue
            self._listen_to(connection, reply)
            if state.mine:
                connection.worker.begin(lambda store: store.release_key(self.owner, name))
            return self._unsealed(account, state)
        return None

    def _is_news(self, view: SharedState) -> bool:
        opened = view.opening is not None and view.generation != self._dispatcher.coordinator.generation
        return opened or (
            view.hold_for > 0.0 and not self._dispatcher.rate_limit.is_paused(self._runtime.monotonic())
        )

    def release(self, permit: Permit, outcome: Outcome | None) -> None:
        """Give the claim of ``permit`` back, with what came of it; never waits."""
        connection = self._claims.pop(permit, None)
        if connection is None:
            return
        account = permit.account
        key = account.owner.credential.key
        name = key_name(key, self._base_url)
        denial, token = None, None
        known, granted = account.denial, account.token  # read once: the token may be invalidated at any moment
        if outcome is not None and outcome.kind == REJECTED and known is not None and not known.code_only:
            rest = known.until - self._runtime.monotonic()
            denial = SharedDenial(rest, known.times, outcome.status, outcome.code, outcome.detail)
        elif connection.seals and outcome is not None and outcome.kind == OK and granted is not None:
            sealed = Sealer(key, self._base_url).seal(granted.jwt)
            token = (sealed, granted.ends - self._runtime.monotonic())
        connection.worker.begin(lambda store: store.release_key(self.owner, name, denial=denial, token=token))

    def has_claim(self, permit: Permit) -> bool:
        """Whether the store has allowed this attempt."""
        return permit in self._claims

    def forget(self, key: str) -> None:
        """Have the others forget what came of ``key`` the last time; never waits."""
        name = key_name(key, self._base_url)
        for connection in self._connections:
            if connection.claims and (connection is self._connections[0] or connection.worker.made):
                connection.worker.begin(lambda store: store.forget_key(name))

    def close(self) -> None:
        """Leave."""
        for connection in self._connections:
            connection.close(for_good=self._owns_store)


def _connections(
    store: Store,
    owner: str,
    dispatcher: Dispatcher,
    runtime: Runtime,
    name: str,
    lines: Lines,
    *,
    claims: bool,
    on_host: bool,
) -> list[StoreConnection]:
    """The connection of ``store``, and of its fallback if it has one."""
    bounds = Bounds.of(dispatcher.config)
    store = BoundedStore(store, bounds, runtime.monotonic)
    patience = LatencyBudget(runtime, _idle_at(dispatcher))
    if (fallback := store.fallback) is None:
        return [
            StoreConnection(store, owner, runtime, StoreHealth(name, runtime, patience, lines=lines), claims=claims)
        ]
    first = StoreHealth(name, runtime, patience, meanwhile="the processes of this host go on together", lines=lines)
    fallback = BoundedStore(fallback, bounds, runtime.monotonic)
    second = StoreHealth(
        name, runtime, patience, what="the record of this host, which stands in for it,", lines=lines
    )
    return [
        StoreConnection(store, owner, runtime, first, claims=claims),
        StoreConnection(fallback, owner, runtime, second, claims=claims and (fallback.carries_tokens or on_host)),
    ]


def _owner() -> str:
    """Name this process so that no other has the name, and an operator finds it."""
    return f"{platform.node() or 'somewhere'}/{os.getpid()}/{uuid.uuid4().hex[:12]}"


def _idle_at(dispatcher: Dispatcher) -> Callable[[], float]:
    return lambda: dispatcher.coordinator.last_idle
