"""How waiting ends and what it is booked as: the reasons that a call is given, the seconds it waited (G9, G13)."""

from __future__ import annotations

import pytest

from colony_pool.config import RetryBudgetConfig, RetryConfig
from tests.support.dispatcher_harness import (
    COUNTING,
    DOWN_502,
    FOREVER,
    GOOD,
    REFUSED,
    SILENCE,
    WALL,
    cancel,
    nothing_left,
)
from tests.support.private import LOCAL, Account, Outcome, Waiter
from tests.support.recording_harness import QUICK, RecordingHarness, called, served


def words(waiter: Waiter) -> str:
    assert waiter.failure is not None
    return str(waiter.failure.exception())


def test_the_seconds_that_calls_wait_are_booked_by_what_they_wait_for() -> None:
    harness = RecordingHarness(breaker=QUICK)
    assert [0.0, 0.0, 0.0] == list(
        harness.dispatcher.waiters.times.until(1.0, harness.dispatcher.waiters.count).values()
    )
    harness.ask(patience=FOREVER)
    harness.ask(patience=FOREVER)
    assert harness.dispatcher.waiters.times.until(2.0, harness.dispatcher.waiters.count) == {
        "probe": 0.0,
        "hold": 0.0,
        "flight": 2.0,
    }
    harness.later(1.5, DOWN_502)  # until 2.5: a flight each; then open until 4.5, and a probe
    harness.at(4.5)
    assert harness.dispatcher.waiters.times._seconds == {"probe": 4.0, "hold": 0.0, "flight": 3.0}
    harness.later(0.5, COUNTING)  # until 5.0; one is told, and one is held for 30 s of the 32 to come
    harness.hear()
    assert harness.dispatcher.waiters.times.until(37.0, harness.dispatcher.waiters.count) == {
        "probe": 7.0,
        "hold": 30.0,
        "flight": 3.0,
    }
    assert harness.dispatcher.waiters.times._seconds == {"probe": 5.0, "hold": 0.0, "flight": 3.0}, (
        "reading books nothing"
    )
    assert (
        harness.dispatcher.waiters.times.until(4.0, harness.dispatcher.waiters.count)
        == harness.dispatcher.waiters.times._seconds
    ), "and nothing is booked back"


def test_nobody_who_waits_costs_no_seconds() -> None:
    harness, _ = served()
    booked = dict(harness.dispatcher.waiters.times._seconds)
    harness.at(100.0)
    assert (
        booked
        == harness.dispatcher.waiters.times.until(200.0, harness.dispatcher.waiters.count)
        == harness.dispatcher.waiters.times._seconds
    )


def test_a_pause_while_closed_is_a_pause_first_and_a_flight_then() -> None:
    harness = RecordingHarness()
    harness.ask(patience=FOREVER)
    harness.ask(patience=FOREVER)
    harness.later(0.5, COUNTING)
    assert harness.dispatcher.waiters.times.until(35.5, harness.dispatcher.waiters.count) == {
        "probe": 0.0,
        "hold": 30.0,
        "flight": 5.0,
    }


def test_g9_a_call_that_leaves_an_outage_knows_all_about_it() -> None:
    harness, account = served(breaker=QUICK)
    old = account.token
    assert old is not None
    harness.feed(harness.dispatcher.token_refused(account, old, harness.moment))
    harness.at(10.0)
    harness.ask(patience=FOREVER)
    harness.later(0.5, DOWN_502)  # open at 10.5, until 12.5
    harness.at(11.0)
    waiter = harness.ask(account, 1.0)
    assert waiter.failure is not None
    assert waiter.failure.extra == {
        "state": "open", "cause": "HTTP 502", "opened_for": 0.5, "retry_after": 1.5, "waited": 0.0,
        "token_valid_until": old.ends_wall,
    }  # fmt: skip
    assert waiter.failure.status == 502
    assert "check base_url" not in words(waiter), "it has given a token"


def test_g9_a_call_whose_patience_ends_while_open_says_how_long_it_waited() -> None:
    harness = RecordingHarness(breaker=QUICK)
    patient, probe = harness.ask(patience=5.0), harness.ask(patience=FOREVER)
    harness.later(0.5, DOWN_502)
    harness.at(3.5)
    assert [probe.account] == [permit.account for permit in harness.out]
    harness.later(0.5, SILENCE)  # open again, at 4, for four seconds: beyond its five
    assert patient.failure is not None
    assert (patient.failure.extra["waited"], patient.failure.extra["retry_after"]) == (3.0, 4.0)
    assert patient.failure.extra["token_valid_until"] is None
    assert words(patient).endswith("if this address never gave a token, check base_url")


def test_g15_who_cannot_wait_for_the_next_code_is_told_when_it_comes() -> None:
    harness, account = RecordingHarness(), Account(totp=True)
    harness.ask(account, 60.0)
    harness.later(0.5, Outcome(LOCAL, detail="spent", wait_for_totp=True))
    window = 30.0 - (WALL + 1.5) % 30.0
    assert account.next_code_at == harness.now + window
    assert f"the next one comes in {window:.0f} s" in words(harness.ask(account, 5.0))


def test_g9_who_got_no_turn_while_closed_says_so() -> None:
    harness = RecordingHarness(maxsize=1)
    harness.ask(patience=FOREVER)
    waiter = harness.ask(patience=3.0)
    harness.at(5.0)
    assert "waited 3 s for a turn and got none" in words(waiter)


def test_g9_calls_that_never_park_leave_when_the_breaker_opens_but_for_those_on_the_wire() -> None:
    harness = RecordingHarness(maxsize=1)
    out, queued = harness.ask(patience=0.0), harness.ask(patience=0.0)
    harness.feed(harness.dispatcher.force("open", harness.moment))
    assert (False, True) == (out.done, queued.done)
    harness.later(0.5, DOWN_502)
    assert out.done
    assert nothing_left(harness)


def test_g9_a_call_that_never_parks_waits_for_its_turn_as_long_as_an_attempt_may_last() -> None:
    harness = RecordingHarness(maxsize=1)
    harness.ask(patience=FOREVER)
    waiter = harness.ask(patience=0.0)
    harness.at(30.9)
    assert not waiter.done
    harness.at(31.0)
    assert waiter.done


def test_g9_patience_is_counted_to_within_a_percent() -> None:
    harness = RecordingHarness(maxsize=1)
    harness.ask(patience=FOREVER)
    waiter = harness.ask(patience=10.0)
    harness.at(11.0)
    assert not waiter.done
    harness.at(11.1)
    assert waiter.done


def test_g9_patience_is_never_counted_so_generously_that_one_more_retry_would_fit_in() -> None:
    harness = RecordingHarness(maxsize=1, retry=RetryConfig(max_retries=1, base_delay=2.0, max_delay=2.0))
    harness.ask(patience=FOREVER)
    waiter = harness.ask(patience=1000.0)
    assert waiter.deadline == 1.0 + 1000.0 + 1.0, "half of the last delay, and not ten seconds"


def test_g14_no_refresh_of_a_refused_key() -> None:
    harness, account = served()
    harness.at(60_000.0)
    harness.dispatcher.denials.deny(account, REFUSED, harness.moment)
    harness.refresh(account)
    assert harness.out == []
    harness.at(harness.now + 60.0)
    harness.refresh(account)
    assert [account] == [permit.account for permit in harness.out]


def test_g26_no_refresh_after_the_end() -> None:
    harness, account = served()
    harness.feed(harness.dispatcher.close(harness.moment))
    harness.at(60_000.0)
    harness.refresh(account)
    assert nothing_left(harness)


def test_g5_a_late_token_that_nobody_waits_for_is_kept() -> None:
    harness, account = RecordingHarness(), Account()
    waiter = harness.ask(account)
    permit = harness.out[0]
    harness.at(permit.deadline)
    assert waiter.done
    harness.answer(permit, GOOD)
    assert account.token is not None
    assert nothing_left(harness)
    kept = account.token
    harness.answer(permit, GOOD)
    assert account.token is kept, "one that is at hand is as good"


def test_g3_cancelling_twice_or_before_asking_changes_nothing() -> None:
    harness = RecordingHarness()
    never = Waiter(Account(), 5.0)
    cancel(harness, never)
    waiter = harness.ask()
    cancel(harness, waiter)
    cancel(harness, waiter)
    assert harness.dispatcher.waiters.count == 0


def test_when_the_endpoint_last_gave_a_token_is_known() -> None:
    harness = RecordingHarness()
    assert harness.dispatcher.history.granted_at == -float("inf")
    harness.ask()
    harness.later(0.5, GOOD)
    assert harness.dispatcher.history.granted_at == 1.5


def test_g17_a_token_lives_as_long_as_it_was_said_to_and_ages_by_its_key() -> None:
    harness, account = RecordingHarness(), Account(jitter_hash=0.5)
    account._failures = 3
    harness.ask(account)
    harness.later(0.5, Outcome("ok", 200, jwt="j", life=1000.0))
    assert account.token is not None
    assert (1001.5, 701.5, WALL + 1001.5) == (
        account.token.ends,
        account.token.refresh_at,
        account.token.ends_wall,
    )
    assert account._failures == 0


def test_g11_who_is_sent_away_is_told_of_what_happened() -> None:
    harness = RecordingHarness()
    waiters = [harness.ask(patience=FOREVER) for _ in range(3)]
    failures = [Outcome("fault", 500, "HTTP 500"), Outcome(LOCAL, detail="no code", code="C"), REFUSED]
    for failure in failures:
        harness.later(0.5, failure)
    reported = [
        "/auth/token: HTTP 500. The server is at fault: try again later; the API key is fine; "
        "if this address never gave a token, check base_url",
        "/auth/token: no code",
        "/auth/token: HTTP 401: no. The API key was refused: check that it is the current one of this agent",
    ]
    assert reported == [words(waiter) for waiter in waiters]


def test_g11_at_an_address_that_has_given_a_token_nobody_is_told_to_check_it() -> None:
    harness, _ = served()
    waiter = harness.ask(patience=FOREVER)
    harness.later(0.5, Outcome("fault", 500, "HTTP 500"))
    assert words(waiter) == "/auth/token: HTTP 500. The server is at fault: try again later; the API key is fine"


def test_g17_a_token_without_a_life_lives_for_a_day() -> None:
    harness, account = RecordingHarness(), Account()
    harness.ask(account)
    harness.later(0.5, Outcome("ok", 200, jwt="j"))
    assert account.token is not None
    assert (account.token.jwt, account.token.ends) == ("j", 1.5 + 86_400.0)


def test_g9_who_never_parks_and_is_late_as_well_is_told_once() -> None:
    harness = RecordingHarness()
    waiter = harness.ask(patience=0.0)
    harness.later(0.5, Outcome("down", 503, "HTTP 503", retry_after=60.0))
    assert [waiter] == harness.done
    assert nothing_left(harness)
    assert harness.dispatcher.waiters._nonblocking == {}


def test_g9_one_that_never_parks_leaves_and_the_other_still_never_parks() -> None:
    harness, account = RecordingHarness(), Account()
    gone, stays = harness.ask(account, 0.0), harness.ask(account, 0.0)
    cancel(harness, gone)
    assert [[stays]] == [list(impatient) for impatient in harness.dispatcher.waiters._nonblocking.values()]
    harness.later(0.5, DOWN_502)
    assert stays.done
    assert harness.dispatcher.waiters._nonblocking == {}


def test_g9_what_is_over_this_very_moment_is_no_reason_any_more() -> None:
    harness, account = RecordingHarness(maxsize=1), Account()
    harness.ask(patience=FOREVER)
    waiter = harness.ask(account, FOREVER)
    assert harness.dispatcher.waiters.flights.get(account) is not None
    harness.dispatcher.rate_limit.paused_until = account.cooldown_until = account.next_code_at = harness.now
    flight = harness.dispatcher.waiters.flights[account]
    harness.dispatcher.waiters.dismiss(flight, [waiter], harness.moment)
    assert waiter.failure is not None
    assert "got none" in waiter.failure.message


def test_g9_g17_in_the_moment_in_which_the_next_token_may_be_asked_for_that_is_no_reason_any_more() -> None:
    harness, account = served()
    harness.at(90_000.0)  # its token has ended
    waiter = harness.ask(account, FOREVER)
    account.record.renew_at = harness.now
    harness.dispatcher.waiters.dismiss(harness.dispatcher.waiters.flights[account], [waiter], harness.moment)
    assert "the last token of this key" not in words(waiter)


def test_g12_whose_retry_the_budget_refuses_to_the_end_hears_of_its_failure() -> None:
    harness = RecordingHarness(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=0))
    waiter = harness.ask(patience=10.0)
    harness.later(0.5, DOWN_502)
    harness.at(12.0)
    assert words(waiter).startswith("/auth/token: HTTP 502. ")
    assert words(waiter).endswith("if this address never gave a token, check base_url")


def test_g9_at_an_address_that_has_given_a_token_whose_patience_ends_is_not_told_to_check_it() -> None:
    harness, _ = served(retry_budget=RetryBudgetConfig(ratio=0.0, reserve=0))
    waiter = harness.ask(patience=10.0)
    harness.later(0.5, DOWN_502)
    harness.at(20.0)
    assert words(waiter) == "/auth/token: HTTP 502. The server is at fault: try again later; the API key is fine"


def test_g9_while_a_probe_is_out_the_next_one_may_leave_at_once() -> None:
    harness, account = served(breaker=QUICK)
    old = account.token
    assert old is not None
    harness.at(90_000.0)
    harness.force("half_open")
    harness.ask(patience=FOREVER)
    waiter = harness.ask(account, 0.0)
    assert waiter.failure is not None
    assert (0.0, old.ends_wall) == (waiter.failure.extra["retry_after"], waiter.failure.extra["token_valid_until"])


@pytest.mark.parametrize("paused", [False, True])
def test_g9_who_cannot_wait_probes_the_very_moment_that_it_may(paused: bool) -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.force("open")
    harness.at(3.0)
    harness.dispatcher.rate_limit.paused_until = 3.0 if paused else -1.0
    assert harness.dispatcher.breaker.probe_at == 3.0
    assert not harness.ask(patience=0.0).done
    assert [True] == [permit.is_probe for permit in harness.out]


def test_g12_a_probe_is_no_retry_whatever_its_flight_has_seen() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.ask(patience=FOREVER)
    harness.later(0.5, DOWN_502)
    harness.at(3.5)
    assert [(True, False)] == [(permit.is_probe, permit.is_retry) for permit in harness.out]


def test_who_leaves_during_an_outage_was_parked() -> None:
    harness = RecordingHarness(breaker=QUICK)
    harness.force("open")
    waiter = harness.ask(patience=FOREVER)
    harness.at(2.0)
    harness.hear()
    cancel(harness, waiter)
    assert [called("cancelled", 1.0, parked=True)] == harness.hear()


def test_g9_a_patient_call_may_leave_those_that_never_park() -> None:
    harness, account = RecordingHarness(), Account()
    stays, gone = harness.ask(account, 0.0), harness.ask(account, 60.0)
    cancel(harness, gone)
    assert [[stays]] == [list(impatient) for impatient in harness.dispatcher.waiters._nonblocking.values()]
