"""The dispatcher in front of N keys: each input, and the worst moments, for N as large as one likes.

``CASES`` maps a sentence to a function of N that brings a dispatcher to where the sentence begins and returns what is
to be measured. Run, that returns how many inputs, or how many calls that one input concerned, its cost is shared by.
``tests.tools.test_growth`` counts the executed lines of it, ``tests.tools.bench.growth`` takes the time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from colony_pool.config import PolicyConfig
from tests.support.dispatcher_harness import START
from tests.support.loaded_harness import (
    BAD,
    COUNTING,
    GOOD,
    REFUSED,
    WALL,
    LoadedHarness,
    backing_off,
    behind_open,
    callers,
    half_open,
    keys,
    queued,
)
from tests.support.private import Account, Instant, Outcome, Waiter, issue

MANY = 512  # inputs of which each concerns one key
STORM = 100  # refusals
SOME = 12  # results, of which even failures leave the breaker closed

Measured = Callable[[], int]
Case = Callable[[int], Measured]
HarnessOf = Callable[[int], tuple[LoadedHarness, list[Waiter]]]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def register(build: Case) -> Case:
        CASES[name] = build
        return build

    return register


# -- any state -----------------------------------------------------------------------------------------------------


def _asked(harness_of: HarnessOf, n: int) -> Measured:
    harness, _ = harness_of(n)
    new = keys(MANY)
    return lambda: len(harness.ask_all(new))


def _cancelled(harness_of: HarnessOf, n: int) -> Measured:
    harness, waiters = harness_of(n)
    leaving = waiters[:: max(1, n // MANY)]
    return _for(len(leaving), lambda: harness.cancel(leaving))


def _time_passes(harness_of: HarnessOf, n: int) -> Measured:
    harness, _ = harness_of(n)
    return lambda: _ticks(harness, MANY, 1e-6)


STATES: dict[str, HarnessOf] = {"closed": queued, "open": behind_open, "half-open": half_open}
for _state, _harness_of in STATES.items():
    CASES[f"{_state}: a key is asked for, n wait"] = partial(_asked, _harness_of)
    CASES[f"{_state}: one of n calls is cancelled"] = partial(_cancelled, _harness_of)
    CASES[f"{_state}: time passes, n wait"] = partial(_time_passes, _harness_of)

# -- closed --------------------------------------------------------------------------------------------------


@case("closed: a call joins one of n keys")
def _(n: int) -> Measured:
    harness, waiters = queued(n)
    rng = random.Random(n)
    accounts = [rng.choice(waiters).account for _ in range(MANY)]
    return lambda: len(harness.ask_all(accounts))


@case("closed: a call joins n of its key")
def _(n: int) -> Measured:
    harness, waiters = callers(n)
    return lambda: len(harness.ask_all([waiters[0].account] * MANY))


@case("closed: n calls of one key are cancelled")
def _(n: int) -> Measured:
    harness, waiters = callers(n)
    return _for(len(waiters), lambda: harness.cancel(waiters))


@case("closed: a good result, n wait")
def _(n: int) -> Measured:
    harness, _ = queued(n)
    return lambda: _answers(harness, GOOD, min(n, SOME))


@case("closed: a failed result, n wait")
def _(n: int) -> Measured:
    harness, _ = queued(n)
    return lambda: _answers(harness, BAD, SOME)


@case("closed: a good result for n calls")
def _(n: int) -> Measured:
    harness, waiters = callers(n)
    return _for(len(waiters), lambda: harness.answer(GOOD))


@case("closed: a refusal for n calls")
def _(n: int) -> Measured:
    harness, waiters = callers(n)
    return _for(len(waiters), lambda: harness.answer(REFUSED))


@case("closed: a failed result of a key with n calls, which goes on waiting")
def _(n: int) -> Measured:
    harness, _ = callers(n)
    return lambda: _answers(harness, BAD, 5)


@case("closed: n backoffs end at once")
def _(n: int) -> Measured:
    harness = backing_off(n)
    return _for(n, lambda: harness.tick(harness.now + 2e6))


@case("closed: n patiences end at once")
def _(n: int) -> Measured:
    harness, waiters = queued(n, patience=10.0)
    return _for(len(waiters), lambda: harness.tick(20.0))


@case("closed: a storm of refusals of n good keys")
def _(n: int) -> Measured:
    # Of a hundred refusals the latter half is blamed on the server, however many keys it has served.
    refusals = min(n, STORM)
    harness = LoadedHarness(policy=PolicyConfig(server_fault_ratio=refusals / 2 / n))
    accounts = keys(n)
    for account in accounts:
        account.has_succeeded = True  # it worked once; now that it works again, a refusal will be judged by it
    harness.serve(accounts)
    for account in accounts[:refusals]:
        harness.feed(harness.dispatcher.invalidate(account, harness.moment))
    harness.ask_all(accounts[:refusals])

    def storm() -> int:
        refused = 0
        while harness.dispatcher.breaker.state == "closed" and refused < refusals:
            harness.to_attempt()
            harness.answer(REFUSED)
            refused += 1
        return refused

    return storm


# -- open and half-open --------------------------------------------------------------------------------------


@case("open: n calls cannot wait for the next probe")
def _(n: int) -> Measured:
    harness, waiters = behind_open(n, patience=3.0)
    harness.to_attempt()
    return _for(len(waiters), lambda: harness.answer(BAD))  # the next one leaves after three seconds or more


@case("half-open: a probe fails and the next one leaves, n wait")
def _(n: int) -> Measured:
    harness, _ = half_open(n)
    return lambda: _probes(harness, SOME)


@case("half-open: a probe fails whose key n calls want")
def _(n: int) -> Measured:
    harness = LoadedHarness()
    harness.force("open")
    harness.ask_all([Account()] * n)
    harness.to_attempt()
    return lambda: _probes(harness, SOME)


@case("half-open: a good probe forgives n keys")
def _(n: int) -> Measured:
    harness = backing_off(n)
    harness.force("open")
    harness.ask()
    harness.to_attempt()
    return _for(n, lambda: harness.answer(GOOD))


@case("half-open: a call that cannot wait joins n such calls of the probe's key")
def _(n: int) -> Measured:
    harness, waiters = half_open(1)
    account = waiters[0].account
    harness.ask_all([account] * n, patience=0.0)
    return lambda: len(harness.ask_all([account] * MANY, patience=0.0))


# -- holds, tokens, the end ----------------------------------------------------------------------------------


@case("hold: a 429 sends n calls away")
def _(n: int) -> Measured:
    harness, waiters = queued(n, patience=10.0)
    return _for(len(waiters), lambda: harness.answer(COUNTING))


@case("hold: a call is told to go, n keys are remembered")
def _(n: int) -> Measured:
    harness, _ = queued(n)
    harness.answer(COUNTING)
    new = keys(MANY)
    return lambda: len(harness.ask_all(new))


@case("a token is refreshed in the background, n others are")
def _(n: int) -> Measured:
    harness, accounts = LoadedHarness(), keys(n + MANY)
    harness.now = 80_000.0  # past all soft points, and before the margins
    for account in accounts:
        account.token = issue("jwt", 86_400.0, 0.0, 0.0, START, harness.dispatcher.config.policy)
    for account in accounts[:n]:
        harness.feed(harness.dispatcher.refresh(account, Instant(harness.now, WALL + harness.now)))

    def refresh() -> int:
        for account in accounts[n:]:
            harness.feed(harness.dispatcher.refresh(account, Instant(harness.now, WALL + harness.now)))
        return MANY

    return refresh


@case("the breaker is forced open and closed, n wait")
def _(n: int) -> Measured:
    harness, _ = queued(n)

    def force() -> int:
        for _ in range(SOME):
            harness.force("open")
            harness.force("closed")
        return 2 * SOME

    return force


@case("close() tells n calls")
def _(n: int) -> Measured:
    harness, waiters = behind_open(n)
    return _for(len(waiters), lambda: harness.feed(harness.dispatcher.close(harness.moment)))


def _for(concerned: int, work: Callable[[], object]) -> Measured:
    def measured() -> int:
        work()
        return concerned

    return measured


def _answers(harness: LoadedHarness, outcome: Outcome, times: int) -> int:
    for _ in range(times):
        harness.to_attempt()
        harness.now += 0.01
        harness.answer(outcome)
    return times


def _probes(harness: LoadedHarness, times: int) -> int:
    for _ in range(times):
        harness.answer(BAD)
        harness.to_attempt()
    return times


def _ticks(harness: LoadedHarness, times: int, apart: float) -> int:
    for _ in range(times):
        harness.tick(harness.now + apart)
    return times
