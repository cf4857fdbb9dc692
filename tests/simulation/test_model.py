"""The real dispatcher beside its model: whatever happens, in any order, it does what it must (G1 to G16)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from colony_pool.config import BreakerConfig, DispatcherConfig, PolicyConfig, RetryBudgetConfig
from tests.simulation import model_world as ref
from tests.simulation.model import Model
from tests.support.dispatcher_harness import WALL
from tests.support.private import (
    LOCAL,
    NETWORK_ERROR,
    OK,
    RATE_LIMITED,
    REJECTED,
    SERVER_ERROR,
    UNAVAILABLE,
    Account,
    CircuitBreaker,
    ConcurrencyLimiter,
    Dispatcher,
    Flight,
    Instant,
    Outcome,
    Permit,
    Queue,
    Results,
    StateChanged,
    Transitions,
    Waiter,
    Waiters,
)
from tests.support.private import actions as act

CONFIG = DispatcherConfig(
    maxsize=ref.MAXSIZE,
    breaker=BreakerConfig(fail_max=ref.FAIL_MAX, min_failure_time=0.0),
    policy=PolicyConfig(
        refresh_after=1.0, refresh_jitter=0.0
    ),  # no refresh ahead of time, but in a token's last minutes
)
KEYS = range(4)  # fewer than it takes to blame a server for refusals
PATIENCE = [0.0, 3.0, 40.0, 122.0, 3600.0]
pytestmark = pytest.mark.timeout(900)  # a quarter of a minute, but nothing is to fail on a busy machine

# Coarse steps: what happens at the same moment is what goes wrong.
STEPS = [0.0, 0.02, 0.5, 1.0, 2.0, 5.0, 30.0, 60.0]
OUTCOMES: list[tuple[Outcome, float]] = [
    (Outcome(OK, 200, jwt="j", life=100.0), 100.0),
    (Outcome(OK, 200, jwt="k", life=3600.0), 3600.0),
    (Outcome(REJECTED, 401, "no"), 0.0),
    (Outcome(RATE_LIMITED, 429, retry_after=1.0), 1.0),
    (Outcome(RATE_LIMITED, 429, retry_after=90.0), 90.0),
    (Outcome(LOCAL, local_error=RuntimeError("mine")), 0.0),
    (Outcome(SERVER_ERROR, 500, "HTTP 500"), 0.0),
    (Outcome(UNAVAILABLE, 502, "HTTP 502"), 0.0),
    (Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=7.0), 7.0),
    (Outcome(NETWORK_ERROR, detail="refused"), 0.0),
]
GOOD, COUNTING = OUTCOMES[1], OUTCOMES[3]
# Nothing yet; everybody has had a token and the window has grown; the same, and a 429 holds everybody.
PASTS = ["new", "busy", "held"]


class DispatcherBesideModel(RuleBasedStateMachine):
    """Each rule is one input, put to both."""

    @initialize(seed=st.integers(0, 1000), reserve=st.sampled_from([1, 50]), past=st.sampled_from(PASTS))
    def begin(self, seed: int, reserve: int, past: str) -> None:
        budget = RetryBudgetConfig(ratio=ref.RATIO, reserve=reserve)
        self.dispatcher = Dispatcher(replace(CONFIG, retry_budget=budget), random.Random(seed).random)
        self.model = Model(reserve, keys=[ref.Key() for _ in KEYS])
        self.accounts = [Account() for _ in KEYS]
        self.numbers = {account: number for number, account in enumerate(self.accounts)}
        self.calls: dict[Waiter, ref.Call] = {}
        self.attempts: dict[Permit, ref.Attempt] = {}  # whose result is still to come, given up or not
        self.wake = float("inf")
        self.intact = True
        if past != "new":
            self.everybody_asks(122.0)
            while self.attempts:
                self.answer_all(GOOD)
            self.forget_all_tokens()
        if past == "held":
            self.ask(0, 122.0)
            self.answer_all(COUNTING)
            self.everybody_asks(122.0)

    # -- the world's moves

    @rule(key=st.sampled_from(KEYS), patience=st.sampled_from(PATIENCE))
    def ask(self, key: int, patience: float) -> None:
        waiter = Waiter(self.accounts[key], patience)
        left = patience * 1.01 if patience else CONFIG.timeout.total
        call = self.calls[waiter] = ref.Call(self.model.keys[key], left, parks=patience > 0.0)
        self.put(lambda: self.model.asks(call), lambda: self.dispatcher.demand(waiter, self.clocks))

    @rule(patience=st.sampled_from(PATIENCE[2:]))
    def everybody_asks(self, patience: float) -> None:
        for key in KEYS:
            self.ask(key, patience)

    @precondition(lambda self: any(not call.reported for call in self.calls.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from([waiter for waiter, call in self.calls.items() if not call.reported]))
        call = self.calls[waiter]
        self.put(lambda: self.model.leaves(call), lambda: self.dispatcher.cancel(waiter, self.clocks))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), answer=st.sampled_from(OUTCOMES))
    def answer(self, data: st.DataObject, answer: tuple[Outcome, float]) -> None:
        self.land(data.draw(st.sampled_from(list(self.attempts))), *answer)

    @precondition(lambda self: self.attempts)
    @rule(answer=st.sampled_from(OUTCOMES))
    def answer_all(self, answer: tuple[Outcome, float]) -> None:
        for permit in list(self.attempts):
            self.land(permit, *answer)

    @rule()
    def forget_all_tokens(self) -> None:
        for key, account in zip(self.model.keys, self.accounts, strict=True):
            self.put(partial(self.model.forgets, key), partial(self.dispatcher.invalidate, account, self.clocks))

    @rule(state=st.sampled_from([ref.CLOSED, ref.OPEN, ref.HALF_OPEN]))
    def force(self, state: str) -> None:
        self.put(lambda: self.model.forces(state), lambda: self.dispatcher.force(state, self.clocks))

    @rule(seconds=st.sampled_from(STEPS))
    def wait(self, seconds: float) -> None:
        self.pass_until(self.model.now + seconds)

    @precondition(lambda self: self.wake < float("inf"))
    @rule()
    def wait_for_the_next_wakeup(self) -> None:
        self.pass_until(max(self.wake, self.model.now))

    @invariant()
    def they_agree(self) -> None:
        core, model = self.dispatcher, self.model
        assert model.state == core.breaker.state
        assert sum(len(key.calls) for key in model.keys) == core.waiters.count
        assert {self.attempts[permit] for permit in core.in_flight.permits} == set(model.wire)

    def teardown(self) -> None:
        """The endpoint answers everybody at last: nobody is forgotten, nothing leaks."""
        if not getattr(self, "intact", False):
            return  # it has failed already, or never begun
        for _ in range(500):
            for permit in list(self.attempts):
                self.land(permit, *GOOD)
            if not (self.dispatcher.waiters.flights or self.dispatcher.waiters.count):
                break
            self.pass_until(max(self.wake, self.model.now))
        core = self.dispatcher
        assert (0, {}, set(), None) == (
            core.waiters.count,
            core.waiters.flights,
            core.in_flight.permits,
            core.in_flight.probe,
        )
        assert all(call.reported for call in self.calls.values())

    # -- how they are driven

    @property
    def clocks(self) -> Instant:
        return Instant(self.model.now, WALL + self.model.now)

    def land(self, permit: Permit, outcome: Outcome, seconds: float) -> None:
        attempt = self.attempts.pop(permit)
        self.put(
            lambda: self.model.hears(attempt, outcome.kind, seconds),
            lambda: self.dispatcher.result(permit, outcome, self.clocks),
        )

    def pass_until(self, until: float) -> None:
        ticks = 0
        while self.wake <= until:
            self.tick(max(self.wake, self.model.now))
            ticks += 1
            assert ticks < 1000, "the dispatcher spins"
        self.tick(until)

    def tick(self, now: float) -> None:
        self.put(lambda: self.model.passes(now), lambda: self.dispatcher.tick(self.clocks))

    def put(self, to_model: Callable[[], None], to_dispatcher: Callable[[], list[act.Action]]) -> None:
        self.intact = False
        to_model()
        actions = to_dispatcher()
        for place, action in enumerate(actions):
            self.carry_out(action, actions[place + 1 :])
        self.model.settles()
        self.model.sets_wakeup(self.wake)
        self.intact = True

    def carry_out(self, action: Any, later: list[act.Action]) -> None:
        if isinstance(action, act.StartAttempt):
            permit = action.permit
            key = self.model.keys[self.numbers[permit.account]]
            self.attempts[permit] = self.model.starts(key, probe=permit.is_probe, timeout=permit.timeout)
        elif isinstance(action, act.CancelAttempt):
            self.model.gives_up(self.attempts[action.permit])
        elif isinstance(action, act.Wake):
            self.model.reports(self.calls[action.waiter], self.said(action.waiter))
        elif isinstance(action, act.WakeAt):
            self.wake = action.at
        elif isinstance(action, StateChanged):
            probes = any(isinstance(one, act.StartAttempt) and one.permit.is_probe for one in later)
            self.model.moves(action.old, action.new, action.next_probe_in, by_probe=probes)

    @staticmethod
    def said(waiter: Waiter) -> str:
        if waiter.token is not None:
            return "token"
        assert waiter.failure is not None
        return type(waiter.failure.exception()).__name__


DispatcherBesideModel.TestCase.settings = settings(max_examples=700, stateful_step_count=50, deadline=None)
TestDispatcherBesideModel = DispatcherBesideModel.TestCase


def always(*_: Any) -> bool:
    return True


def nothing(*_: Any, **__: Any) -> None:
    return None


PLANTED: list[tuple[type, str, Callable[..., Any]]] = [
    (Queue, "next_sleeper", lambda queue: math.inf),  # a lost wake-up
    (Queue, "forgive", nothing),  # a good probe forgives nobody
    (Queue, "expired", lambda queue, limit: []),  # a patience without an end
    (ConcurrencyLimiter, "next_start_at", lambda window, now: now),  # a window without a limit
    (CircuitBreaker, "failed", lambda circuit: False),  # a breaker that never opens
    (CircuitBreaker, "postpone", nothing),  # a Retry-After that no probe minds
    (Account, "refusal_at", nothing),  # a refusal that is not remembered
    (Results, "expire_attempts", nothing),  # a lease without an end
    (Transitions, "end_pause", nothing),  # a hold that ends with everyone
    (Waiters, "serve", nothing),  # a token that is kept from those who wait
    (Flight, "deadline", lambda flight: math.inf),  # a patience that is not known
]


@pytest.mark.parametrize(("owner", "name", "wrong"), PLANTED, ids=[f"{o.__name__}.{n}" for o, n, _ in PLANTED])
def test_the_model_finds_an_error_that_was_planted(
    owner: type, name: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, wrong)
    quick = settings(
        max_examples=5000, stateful_step_count=50, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], print_blob=False,
    )  # fmt: skip
    with pytest.raises(AssertionError):
        run_state_machine_as_test(DispatcherBesideModel, settings=quick)
