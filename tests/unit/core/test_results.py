"""What a verdict does to the breaker, to its key and to its flight, number by number (G4, G10, G11, G12, G17)."""

from __future__ import annotations

import pytest

from colony_pool.config import BreakerConfig, PolicyConfig, RetryConfig
from tests.support.dispatcher_harness import COUNTING, DOWN_502, FOREVER, GOOD, REFUSED, WALL
from tests.support.private import LOCAL, UNAVAILABLE, Account, Instant, LossHistory, Outcome, _LossStats, issue
from tests.support.recording_harness import QUICK, RecordingHarness, served

BUSY_503 = Outcome(UNAVAILABLE, 503, "HTTP 503", retry_after=20.0)
JITTERY = RetryConfig(max_retries=6, base_delay=2.0, max_delay=60.0, retry_on=frozenset({502, 503, 504}), jitter=0.5)


@pytest.mark.parametrize("step", ["demand", "refresh", "cancel", "tick", "result", "adopt"])
def test_every_input_of_a_call_books_the_time_since_the_last_one(step: str) -> None:
    harness, account = RecordingHarness(), Account()
    waiter = harness.ask(account)
    harness.now, at = 3.0, Instant(3.0, WALL + 500.0)
    token = issue("disk", 10.0, 0.0, 0.0, at, PolicyConfig())
    core = harness.dispatcher
    steps = {
        "demand": lambda: core.demand(type(waiter)(account, 5.0), at),
        "refresh": lambda: core.refresh(account, at),
        "cancel": lambda: core.cancel(waiter, at),
        "tick": lambda: core.tick(at),
        "result": lambda: core.result(harness.out[0], DOWN_502, at),
        "adopt": lambda: core.adopt(account, token, at),
    }
    harness.feed(steps[step]())
    assert core.waiters.times.until(3.0, 0)["flight"] == 2.0


@pytest.mark.parametrize("step", ["invalidate", "force", "close"])
def test_every_other_input_books_the_time_since_the_last_one(step: str) -> None:
    harness, account = RecordingHarness(), Account()
    harness.ask(account)
    core = harness.dispatcher
    steps = {
        "invalidate": lambda: core.invalidate(account, harness.moment),
        "force": lambda: core.force("open", Instant(3.0, WALL + 3.0)),
        "close": lambda: core.close(harness.moment),
    }
    harness.now = 3.0
    harness.feed(steps[step]())
    assert core.waiters.times.until(3.0, 0)["flight"] == 2.0


def test_g10_what_is_lost_is_an_average_of_the_last_64() -> None:
    likely = {}
    for bad in (0, 20, 40):
        losses = LossHistory()
        for i in range(100):
            losses.failed(1) if i % 100 < bad else None
            losses.succeeded(2, float(i))
        likely[bad] = losses.likely
    assert likely[0] == pytest.approx(1 / 64)
    assert likely[0] < likely[20] < likely[40]
    harness = RecordingHarness()
    for i in range(100):
        harness.dispatcher.losses.failed(1) if i < 40 else harness.dispatcher.losses.succeeded(2, float(i))
    harness.force("closed")
    assert harness.dispatcher.losses.likely == pytest.approx(1 / 16), "a closed period begins anew"


@pytest.mark.parametrize("outcome", [GOOD, REFUSED])
@pytest.mark.parametrize("probe", [True, False])
def test_g10_when_the_endpoint_last_lived_is_known(outcome: Outcome, probe: bool) -> None:
    harness = RecordingHarness(breaker=QUICK)
    if probe:
        harness.force("half_open")
    harness.ask()
    harness.later(0.5, outcome)
    assert (1.5, 0.5) == (harness.dispatcher.losses.last_success, harness.dispatcher.limiter.rtt)


@pytest.mark.parametrize(("after", "state"), [(1.5, "closed"), (2.0, "open"), (9.0, "open")])
def test_g10_the_last_failure_counts_after_two_seconds_without_a_success(after: float, state: str) -> None:
    harness = RecordingHarness(breaker=BreakerConfig(fail_max=1, min_failure_time=2.0))
    harness.ask()
    harness.later(0.0, GOOD)
    harness.ask()
    harness.later(after, DOWN_502)
    assert state == harness.dispatcher.breaker.state


def test_g10_or_at_once_if_chance_is_out_of_the_question() -> None:
    harness = RecordingHarness(breaker=BreakerConfig(fail_max=16, min_failure_time=2.0))
    harness.ask()
    harness.later(0.0, GOOD)
    harness.dispatcher.limiter._overall = _LossStats(64.0, 0.0)
    harness.dispatcher.breaker.failures = 15
    harness.ask()
    harness.later(0.1, DOWN_502)
    assert harness.dispatcher.breaker.state == "open"


def test_g10_a_failure_that_is_not_the_last_one_counts_at_once() -> None:
    harness = RecordingHarness(breaker=BreakerConfig(fail_max=3, min_failure_time=2.0))
    harness.ask()
    harness.later(0.0, GOOD)
    for failures in (1, 2, 2, 2):
        harness.ask(patience=FOREVER)
        harness.later(0.0, DOWN_502)
        assert (failures, "closed") == (harness.dispatcher.breaker.failures, harness.dispatcher.breaker.state)
        harness.at(harness.now + 0.1)
        while harness.out:
            harness.answer(harness.out[0], Outcome(LOCAL))


def test_g10_who_began_before_the_last_cut_is_no_evidence() -> None:
    harness, _ = served()
    for _ in range(2):
        harness.ask(patience=FOREVER)
    assert len(harness.out) == 2
    harness.later(0.1, DOWN_502)
    harness.later(0.0, DOWN_502)
    assert harness.dispatcher.breaker.failures == 1


def test_a_429_is_neither_good_nor_bad_and_gives_its_slot_back() -> None:
    harness = RecordingHarness()
    harness.ask()
    harness.later(0.5, COUNTING)
    assert (0, 0, LossHistory().likely) == (
        harness.dispatcher.limiter.active,
        harness.dispatcher.breaker.failures,
        harness.dispatcher.losses.likely,
    )


def test_g6_a_503_postpones_the_probe_by_what_it_asks_for() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.ask(patience=FOREVER)
    harness.later(0.5, BUSY_503)
    assert harness.dispatcher.breaker.probe_at == 21.5
    harness.at(21.5)
    harness.later(0.5, BUSY_503)
    assert harness.dispatcher.breaker.probe_at == 42.0
    assert (2, 503) == (harness.dispatcher.breaker.failures, harness.dispatcher.breaker.last_status)


def test_a_throttled_probe_opens_it_anew_for_the_same_time() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.force("open")
    harness.ask(patience=FOREVER)
    harness.at(3.0)
    harness.later(0.5, Outcome("throttled", 429, retry_after=1.0))
    circuit = harness.dispatcher.breaker
    assert (("HTTP 429", 429), "open", 1) == ((circuit.cause, circuit.last_status), circuit.state, circuit.level)
    assert ["open", "half_open", "open"] == harness.replays


def test_an_operators_half_open_is_open_since_then() -> None:
    harness = RecordingHarness()
    harness.force("half_open")
    assert harness.dispatcher.breaker.opened_at == 1.0
    generation = harness.dispatcher.breaker.generation
    harness.force("half_open")
    assert generation == harness.dispatcher.breaker.generation, "the probe that is out is the one that was asked for"


def test_g6_success_that_empties_the_queue_starts_the_delay_anew() -> None:
    harness = RecordingHarness()
    harness.dispatcher.breaker.level = 5
    harness.ask()
    harness.ask()
    harness.later(0.5, GOOD)
    assert harness.dispatcher.breaker.level == 5, "one still waits"
    harness.later(0.5, GOOD)
    assert harness.dispatcher.breaker.level == 0


def test_g14_a_denied_key_says_for_how_long_it_rests() -> None:
    harness, account = RecordingHarness(), Account(totp=True)
    harness.ask(account)
    harness.hear()
    harness.later(0.5, Outcome("denied", 401, "no", "AUTH_2FA_INVALID", totp_consumed=True))
    window = 30.0 - (WALL + 1.5) % 30.0
    [denied] = [event for event in harness.hear() if type(event).__name__ == "KeyDenied"]
    assert (401, "AUTH_2FA_INVALID", True) == (denied.status, denied.code, denied.code_only)
    assert denied.seconds == pytest.approx(window)
    assert account.next_code_at == 1.5 + window


def test_g5_attempts_of_an_older_period_take_room_until_they_land_and_nobody_spins_for_them() -> None:
    harness, _ = served(maxsize=2)
    for _ in range(2):
        harness.ask(patience=FOREVER)
    harness.force("closed")
    harness.ask(patience=FOREVER)
    assert len(harness.out) == 2
    assert harness.wake == harness.out[0].deadline
    harness.later(0.5, GOOD)
    assert len(harness.out) == 2, "the third one has left"


def test_g12_a_first_attempt_earns_retries_and_a_retry_costs_one() -> None:
    harness = RecordingHarness()
    budget = harness.dispatcher.retry_budget
    harness.ask(patience=FOREVER)
    assert budget.balance(harness.now) == 12.0
    harness.later(0.5, DOWN_502)
    harness.at(3.5)
    assert (11.0, [True]) == (budget.balance(harness.now), [permit.is_retry for permit in harness.out])


def test_g8_forgiveness_knows_who_holds_a_token() -> None:
    harness, holder = served(maxsize=1)
    harness.at(86_400.0 - 30.0)
    harness.ask(holder, 25.0)
    harness.later(0.0, Outcome(UNAVAILABLE, 502, "HTTP 502"))
    other = harness.ask(patience=FOREVER)
    assert harness.out == [], "the failure cools its slot"
    harness.force("closed")
    assert [other.account] == [permit.account for permit in harness.out], "who holds none is first"


@pytest.mark.parametrize(("status", "lost"), [(502, 1.0), (503, 0.0), (504, 1.0)])
def test_g8_only_a_503_says_that_it_was_too_much(status: int, lost: float) -> None:
    harness = RecordingHarness()
    harness.ask(patience=FOREVER)
    harness.later(0.5, Outcome(UNAVAILABLE, status, f"HTTP {status}"))
    assert (lost, 1.0) == (
        sum(level.bad for level in harness.dispatcher.limiter._levels),
        harness.dispatcher.limiter._overall.bad,
    )


def test_g8_a_success_that_ends_a_short_outage_does_not_let_those_who_failed_go_first() -> None:
    harness, failed = RecordingHarness(maxsize=1), Account()
    harness.ask(failed, 50.0)
    harness.later(0.1, DOWN_502)
    harness.at(harness.now + 0.5)
    harness.ask(patience=FOREVER)
    patient = harness.ask(patience=FOREVER)
    for key in range(-8, 0):
        harness.dispatcher.losses.failed(key)
    harness.later(0.1, GOOD)
    assert harness.dispatcher.waiters.flights[failed].not_before <= harness.now, "forgiven"
    harness.at(harness.wake)
    assert [patient.account] == [permit.account for permit in harness.out]


def test_g8_who_has_failed_since_the_breaker_closed_goes_behind_those_who_have_not() -> None:
    harness, failed = RecordingHarness(maxsize=1), Account()
    for state in ("open", "closed"):
        harness.force(state)
    harness.ask(failed, 50.0)
    harness.later(0.1, DOWN_502)
    harness.at(harness.now + 0.5)
    harness.ask(patience=FOREVER)
    patient = harness.ask(patience=FOREVER)
    harness.at(harness.now + 2.0)
    harness.later(0.1, GOOD)
    while not harness.out:
        harness.at(harness.wake)
    assert [patient.account] == [permit.account for permit in harness.out]
