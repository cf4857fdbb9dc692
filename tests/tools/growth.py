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
from tests.support.crowd import (
    BAD,
    COUNTING,
    GOOD,
    REFUSED,
    WALL,
    Crowd,
    backing_off,
    behind_open,
    callers,
    half_open,
    keys,
    queued,
)
from tests.support.desk import START
from tests.support.private import Account, Instant, Outcome, Waiter, issue

MANY = 512  # inputs of which each concerns one key
STORM = 100  # refusals
SOME = 12  # results, of which even failures leave the breaker closed

Measured = Callable[[], int]
Case = Callable[[int], Measured]
CrowdOf = Callable[[int], tuple[Crowd, list[Waiter]]]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def register(build: Case) -> Case:
        CASES[name] = build
        return build

    return register


# -- any state -----------------------------------------------------------------------------------------------------


def _asked(crowd_of: CrowdOf, n: int) -> Measured:
    crowd, _ = crowd_of(n)
    new = keys(MANY)
    return lambda: len(crowd.ask_all(new))


def _cancelled(crowd_of: CrowdOf, n: int) -> Measured:
    crowd, waiters = crowd_of(n)
    leaving = waiters[:: max(1, n // MANY)]
    return _for(len(leaving), lambda: crowd.cancel(leaving))


def _time_passes(crowd_of: CrowdOf, n: int) -> Measured:
    crowd, _ = crowd_of(n)
    return lambda: _ticks(crowd, MANY, 1e-6)


STATES: dict[str, CrowdOf] = {"closed": queued, "open": behind_open, "half-open": half_open}
for _state, _crowd_of in STATES.items():
    CASES[f"{_state}: a key is asked for, n wait"] = partial(_asked, _crowd_of)
    CASES[f"{_state}: one of n calls is cancelled"] = partial(_cancelled, _crowd_of)
    CASES[f"{_state}: time passes, n wait"] = partial(_time_passes, _crowd_of)

# -- closed --------------------------------------------------------------------------------------------------


@case("closed: a call joins one of n keys")
def _(n: int) -> Measured:
    crowd, waiters = queued(n)
    rng = random.Random(n)
    accounts = [rng.choice(waiters).account for _ in range(MANY)]
    return lambda: len(crowd.ask_all(accounts))


@case("closed: a call joins n of its key")
def _(n: int) -> Measured:
    crowd, waiters = callers(n)
    return lambda: len(crowd.ask_all([waiters[0].account] * MANY))


@case("closed: n calls of one key are cancelled")
def _(n: int) -> Measured:
    crowd, waiters = callers(n)
    return _for(len(waiters), lambda: crowd.cancel(waiters))


@case("closed: a good result, n wait")
def _(n: int) -> Measured:
    crowd, _ = queued(n)
    return lambda: _answers(crowd, GOOD, min(n, SOME))


@case("closed: a failed result, n wait")
def _(n: int) -> Measured:
    crowd, _ = queued(n)
    return lambda: _answers(crowd, BAD, SOME)


@case("closed: a good result for n calls")
def _(n: int) -> Measured:
    crowd, waiters = callers(n)
    return _for(len(waiters), lambda: crowd.answer(GOOD))


@case("closed: a refusal for n calls")
def _(n: int) -> Measured:
    crowd, waiters = callers(n)
    return _for(len(waiters), lambda: crowd.answer(REFUSED))


@case("closed: a failed result of a key with n calls, which goes on waiting")
def _(n: int) -> Measured:
    crowd, _ = callers(n)
    return lambda: _answers(crowd, BAD, 5)


@case("closed: n backoffs end at once")
def _(n: int) -> Measured:
    crowd = backing_off(n)
    return _for(n, lambda: crowd.tick(crowd.now + 2e6))


@case("closed: n patiences end at once")
def _(n: int) -> Measured:
    crowd, waiters = queued(n, patience=10.0)
    return _for(len(waiters), lambda: crowd.tick(20.0))


@case("closed: a storm of refusals of n good keys")
def _(n: int) -> Measured:
    # Of a hundred refusals the latter half is blamed on the server, however many keys it has served.
    refusals = min(n, STORM)
    crowd = Crowd(policy=PolicyConfig(server_fault_ratio=refusals / 2 / n))
    accounts = keys(n)
    for account in accounts:
        account.has_succeeded = True  # it worked once; now that it works again, a refusal will be judged by it
    crowd.serve(accounts)
    for account in accounts[:refusals]:
        crowd.feed(crowd.desk.invalidate(account, crowd.moment))
    crowd.ask_all(accounts[:refusals])

    def storm() -> int:
        refused = 0
        while crowd.desk.breaker.state == "closed" and refused < refusals:
            crowd.to_attempt()
            crowd.answer(REFUSED)
            refused += 1
        return refused

    return storm


# -- open and half-open --------------------------------------------------------------------------------------


@case("open: n calls cannot wait for the next probe")
def _(n: int) -> Measured:
    crowd, waiters = behind_open(n, patience=3.0)
    crowd.to_attempt()
    return _for(len(waiters), lambda: crowd.answer(BAD))  # the next one leaves after three seconds or more


@case("half-open: a probe fails and the next one leaves, n wait")
def _(n: int) -> Measured:
    crowd, _ = half_open(n)
    return lambda: _probes(crowd, SOME)


@case("half-open: a probe fails whose key n calls want")
def _(n: int) -> Measured:
    crowd = Crowd()
    crowd.force("open")
    crowd.ask_all([Account()] * n)
    crowd.to_attempt()
    return lambda: _probes(crowd, SOME)


@case("half-open: a good probe forgives n keys")
def _(n: int) -> Measured:
    crowd = backing_off(n)
    crowd.force("open")
    crowd.ask()
    crowd.to_attempt()
    return _for(n, lambda: crowd.answer(GOOD))


@case("half-open: a call that cannot wait joins n such calls of the probe's key")
def _(n: int) -> Measured:
    crowd, waiters = half_open(1)
    account = waiters[0].account
    crowd.ask_all([account] * n, patience=0.0)
    return lambda: len(crowd.ask_all([account] * MANY, patience=0.0))


# -- holds, tokens, the end ----------------------------------------------------------------------------------


@case("hold: a 429 sends n calls away")
def _(n: int) -> Measured:
    crowd, waiters = queued(n, patience=10.0)
    return _for(len(waiters), lambda: crowd.answer(COUNTING))


@case("hold: a call is told to go, n keys are remembered")
def _(n: int) -> Measured:
    crowd, _ = queued(n)
    crowd.answer(COUNTING)
    new = keys(MANY)
    return lambda: len(crowd.ask_all(new))


@case("a token is refreshed in the background, n others are")
def _(n: int) -> Measured:
    crowd, accounts = Crowd(), keys(n + MANY)
    crowd.now = 80_000.0  # past all soft points, and before the margins
    for account in accounts:
        account.token = issue("jwt", 86_400.0, 0.0, 0.0, START, crowd.desk.config.policy)
    for account in accounts[:n]:
        crowd.feed(crowd.desk.refresh(account, Instant(crowd.now, WALL + crowd.now)))

    def refresh() -> int:
        for account in accounts[n:]:
            crowd.feed(crowd.desk.refresh(account, Instant(crowd.now, WALL + crowd.now)))
        return MANY

    return refresh


@case("the breaker is forced open and closed, n wait")
def _(n: int) -> Measured:
    crowd, _ = queued(n)

    def force() -> int:
        for _ in range(SOME):
            crowd.force("open")
            crowd.force("closed")
        return 2 * SOME

    return force


@case("close() tells n calls")
def _(n: int) -> Measured:
    crowd, waiters = behind_open(n)
    return _for(len(waiters), lambda: crowd.feed(crowd.desk.close(crowd.moment)))


def _for(concerned: int, work: Callable[[], object]) -> Measured:
    def measured() -> int:
        work()
        return concerned

    return measured


def _answers(crowd: Crowd, outcome: Outcome, times: int) -> int:
    for _ in range(times):
        crowd.to_attempt()
        crowd.now += 0.01
        crowd.answer(outcome)
    return times


def _probes(crowd: Crowd, times: int) -> int:
    for _ in range(times):
        crowd.answer(BAD)
        crowd.to_attempt()
    return times


def _ticks(crowd: Crowd, times: int, apart: float) -> int:
    for _ in range(times):
        crowd.tick(crowd.now + apart)
    return times
