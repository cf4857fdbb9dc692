"""What listeners, metrics and the log hear of a call's way, to the letter: nothing twice, and nothing left out."""

from __future__ import annotations

from typing import Any

import pytest

from colony_pool._core import actions as act
from colony_pool._core import events as ev
from colony_pool._core.account import Account, Permit, Waiter
from colony_pool._core.outcome import DOWN, FAULT, LOCAL, Outcome
from colony_pool._core.token import Token, issue
from colony_pool.config import BreakerConfig, RetryBudgetConfig, TokenConfig
from tests.desk import COUNTING, DOWN_502, FOREVER, GOOD, MINE, REFUSED, SILENCE, WALL, Desk, cancel

QUICK = BreakerConfig(fail_max=1, quiet=0.0, jitter=0.0)  # one failure opens it, for exactly two seconds


class Told(Desk):
    """A desk whose every word is kept until it is asked for."""

    def __init__(self, **options: Any) -> None:
        self.grants: list[tuple[Account, Token | None, Token | None]] = []
        self.aborted: list[Permit] = []
        super().__init__(**options)
        self.now = 1.0

    def feed(self, actions: list[act.Action]) -> None:
        for action in actions:
            if isinstance(action, act.Grant):
                self.grants.append((action.account, action.token, action.lost))
            elif isinstance(action, act.Abort):
                self.aborted.append(action.permit)
        super().feed(actions)

    def hear(self) -> list[Any]:
        """What was told since it was heard last, but for the window's cuts."""
        heard, self.events = self.events, []
        return [event for event in heard if not isinstance(event, ev.WindowCut)]

    def replayed(self) -> list[str]:
        replays, self.replays = self.replays, []
        return replays

    def later(self, seconds: float, outcome: Outcome) -> None:
        """The foremost attempt takes so long and ends in this."""
        self.at(self.now + seconds)
        self.answer(self.out[0], outcome)

    def force(self, state: str) -> None:
        self.feed(self.desk.force(state, self.now))

    def refresh(self, account: Account) -> None:
        self.feed(self.desk.refresh(account, self.now, self.wall))


def about(seconds: float) -> Any:
    return pytest.approx(seconds)


def ended(
    kind: str, status: int, seconds: float, *, probe: bool = False, stale: bool = False, lost: bool = False
) -> ev.AttemptFinished:
    return ev.AttemptFinished(kind, status, about(seconds), probe, stale, lost)


def begun(retry_of: str = "", *, probe: bool = False) -> ev.AttemptStarted:
    return ev.AttemptStarted(retry_of, probe)


def called(outcome: str, waited: float, *, parked: bool = False) -> ev.CallFinished:
    return ev.CallFinished(outcome, about(waited), parked)


def served(account: Account | None = None, **options: Any) -> tuple[Told, Account]:
    """A desk that has given one token, and was heard."""
    desk, account = Told(**options), account or Account()
    desk.ask(account)
    desk.later(0.5, GOOD)
    desk.hear()
    desk.replayed()
    return desk, account


def test_g16_a_cold_call_its_attempt_and_whoever_joined_it() -> None:
    desk, account = Told(), Account()
    desk.ask(account)
    desk.at(1.25)
    desk.ask(account)
    assert [ev.TokenAsked("flight"), begun(), ev.TokenAsked("coalesced")] == desk.hear()
    desk.later(0.25, GOOD)
    assert desk.hear() == [
        ended("ok", 200, 0.5), called("ok", 0.5), called("ok", 0.25), ev.RefreshFinished("miss", "success", 0.5)
    ]  # fmt: skip
    assert ["success"] == desk.replayed()
    assert [(account, account.token, None)] == desk.grants


def test_g18_a_call_that_comes_late_is_served_by_the_token_at_hand() -> None:
    desk, account = served()
    assert desk.ask(account).token is account.token
    assert [ev.TokenAsked("coalesced"), called("ok", 0.0)] == desk.hear()
    desk.at(86_400.0 - 30.0)
    desk.force("open")
    desk.hear()
    assert desk.ask(account).token is account.token
    assert [ev.TokenAsked("margin"), called("ok", 0.0)] == desk.hear()


def test_g14_a_refusal_and_who_comes_after_it() -> None:
    desk, account = Told(), Account()
    desk.ask(account)
    desk.hear()
    desk.later(0.5, REFUSED)
    assert desk.hear() == [
        ended("denied", 401, 0.5), ev.KeyDenied(401, None, 60.0, code_only=False), called("error", 0.5),
        ev.RefreshFinished("miss", "failure", 0.5),
    ]  # fmt: skip
    assert ["success"] == desk.replayed(), "the endpoint lives"
    desk.ask(account)
    assert [ev.TokenAsked("refused"), called("fast_fail", 0.0)] == desk.hear()


def test_g12_a_retry_says_what_it_is_a_retry_of() -> None:
    desk = Told()
    desk.ask()
    desk.later(0.5, DOWN_502)
    assert [ev.TokenAsked("flight"), begun(), ended("down", 502, 0.5)] == desk.hear()
    desk.at(3.5)
    assert [begun("down")] == desk.hear()
    desk.later(0.5, GOOD)
    assert desk.hear() == [
        ended("ok", 200, 0.5), called("ok_retried", 3.0), ev.RefreshFinished("miss", "success", 3.0)
    ]  # fmt: skip
    assert ["failure", "success"] == desk.replayed()


def test_g12_a_retry_that_the_budget_refuses_is_told_once() -> None:
    desk = Told(budget=RetryBudgetConfig(ratio=0.0, reserve=0))
    desk.ask(patience=FOREVER)
    desk.later(0.5, DOWN_502)
    desk.at(3.5)
    desk.hear()
    for _ in range(3):
        cancel(desk, desk.ask(patience=FOREVER))
        desk.at(desk.now + 1.0)
    assert ev.RetryDenied("budget") not in desk.hear()
    assert desk.desk.budget.balance(desk.now) == 0.0


def test_g12_each_flight_that_the_budget_refuses_is_told() -> None:
    desk = Told(budget=RetryBudgetConfig(ratio=0.0, reserve=0))
    for _ in range(2):
        desk.ask(patience=FOREVER)
        desk.later(0.5, DOWN_502)
    desk.at(10.0)
    assert [ev.RetryDenied("budget")] == [event for event in desk.hear() if isinstance(event, ev.RetryDenied)]


def test_g9_who_cannot_wait_for_the_retry_leaves_with_the_failure() -> None:
    desk = Told()
    hasty = desk.ask(patience=1.0)
    desk.hear()
    desk.later(0.5, DOWN_502)
    assert desk.hear() == [
        ended("down", 502, 0.5), ev.RetryDenied("deadline"), called("error", 0.5),
        ev.RefreshFinished("miss", "failure", 0.5),
    ]  # fmt: skip
    assert hasty.failure is not None
    assert hasty.failure.message.startswith("/auth/token: HTTP 502 (")


def test_g9_who_leaves_after_a_retry_was_retried() -> None:
    desk = Told()
    waiter = desk.ask(patience=3.0)
    desk.later(0.5, DOWN_502)
    desk.at(3.5)
    desk.hear()
    desk.later(0.5, DOWN_502)
    assert desk.hear() == [
        ended("down", 502, 0.5), ev.RetryDenied("deadline"), called("error_retried", 3.0),
        ev.RefreshFinished("miss", "failure", 3.0),
    ]  # fmt: skip
    assert waiter.failure is not None
    assert "HTTP 502 in 2 attempts" in waiter.failure.message


@pytest.mark.parametrize(
    ("outcome", "kind", "status"), [(Outcome(FAULT, 500, "HTTP 500"), "fault", 500), (SILENCE, "network", 0)]
)
def test_g11_what_is_not_retried_says_so(outcome: Outcome, kind: str, status: int) -> None:
    desk = Told()
    desk.ask()
    desk.hear()
    desk.later(0.5, outcome)
    assert desk.hear() == [
        ended(kind, status, 0.5), ev.RetryDenied("outcome"), called("error", 0.5),
        ev.RefreshFinished("miss", "failure", 0.5),
    ]  # fmt: skip


def test_a_local_end_is_neither_a_failure_of_the_endpoint_nor_an_attempt() -> None:
    desk = Told()
    desk.ask()
    desk.hear()
    desk.later(0.5, MINE)
    assert [ended("local", 0, 0.5), called("fast_fail", 0.5)] == desk.hear(), "nothing reached the wire"
    assert [] == desk.replayed()


def test_g3_a_caller_that_leaves_is_counted_once() -> None:
    desk = Told()
    waiter = desk.ask()
    desk.at(1.5)
    desk.hear()
    cancel(desk, waiter)
    cancel(desk, waiter)
    assert [called("cancelled", 0.5)] == desk.hear()
    desk.later(0.5, DOWN_502)
    assert [ended("down", 502, 1.0), ev.RefreshFinished("miss", "failure", 1.0)] == desk.hear()


def test_g8_g10_an_outage_from_its_first_failure_to_its_end() -> None:
    desk = Told(breaker=QUICK)
    desk.ask(patience=FOREVER)
    desk.ask(patience=FOREVER)
    desk.hear()
    desk.later(0.5, DOWN_502)
    moved = ev.StateChanged("closed", "open", 1.5, "HTTP 502", next_probe_in=2.0, since_open=0.0, waiters=2)
    assert [ended("down", 502, 0.5), moved] == desk.hear()[:2]
    assert ["failure", "open"] == desk.replayed()
    desk.at(3.5)
    moved = ev.StateChanged("open", "half_open", 3.5, "HTTP 502", next_probe_in=0.0, since_open=2.0, waiters=2)
    assert [moved, begun(probe=True)] == desk.hear()
    assert ["half_open"] == desk.replayed()
    desk.later(0.5, Outcome(DOWN, 504, "HTTP 504"))
    moved = ev.StateChanged("half_open", "open", 4.0, "HTTP 504", next_probe_in=4.0, since_open=2.5, waiters=2)
    assert [ended("down", 504, 0.5, probe=True), ev.ProbeFinished("failure"), moved] == desk.hear()
    assert ["failure", "open"] == desk.replayed()
    desk.at(8.0)
    desk.hear()
    desk.later(0.5, GOOD)
    moved = ev.StateChanged("half_open", "closed", 8.5, "HTTP 504", next_probe_in=0.0, since_open=7.0, waiters=2)
    assert desk.hear() == [
        ended("ok", 200, 0.5, probe=True), ev.ProbeFinished("success"), moved,
        called("ok_retried", 7.5, parked=True), ev.RefreshFinished("miss", "success", 7.5), begun(),
    ]  # fmt: skip
    assert ["half_open", "success", "close"] == desk.replayed()
    desk.later(0.5, GOOD)
    assert called("ok_retried", 8.0, parked=True) in desk.hear(), "it waited through the outage, too"


@pytest.mark.parametrize(("state", "seconds"), [("open", 2.0), ("half_open", 0.0), ("closed", 0.0)])
def test_an_operators_move_is_told_as_such(state: str, seconds: float) -> None:
    desk = Told(breaker=QUICK)
    desk.force(state)
    cause = "opened by an operator" if state == "open" else ""
    moved = ev.StateChanged("closed", state, 1.0, cause, seconds, 0.0, 0, by_operator=True)
    assert [moved] == desk.hear()
    assert [{"closed": "close"}.get(state, state)] == desk.replayed()
    desk.at(1.5)
    desk.force("half_open")
    old_since = 0.0 if state == "closed" else 0.5
    moved = ev.StateChanged(state, "half_open", 1.5, cause, 0.0, old_since, 0, by_operator=True)
    assert [moved] == desk.hear()
    desk.at(2.5)
    desk.force("closed")
    since = 1.0 if state == "closed" else 1.5
    moved = ev.StateChanged("half_open", "closed", 2.5, cause, 0.0, since, 0, by_operator=True)
    assert [moved] == desk.hear()


def test_g4_a_lease_that_ran_out_is_told_as_lost_and_its_late_verdict_as_stale() -> None:
    desk = Told(breaker=QUICK)
    desk.force("open")
    waiter = desk.ask(patience=FOREVER)
    desk.at(3.0)
    desk.hear()
    probe = desk.out[0]
    desk.at(8.0)
    assert [probe] == desk.aborted
    cause = "no verdict within 5 s"
    moved = ev.StateChanged("half_open", "open", 8.0, cause, next_probe_in=4.0, since_open=7.0, waiters=1)
    assert [ended("network", 0, 5.0, probe=True, lost=True), ev.ProbeFinished("lost"), moved] == desk.hear()
    desk.at(9.0)
    desk.answer(probe, DOWN_502)
    assert [ended("down", 502, 6.0, probe=True, stale=True)] == desk.hear()
    desk.answer(probe, GOOD)
    assert waiter.token is not None
    assert called("ok_retried", 8.0, parked=True) in desk.hear()


def test_g4_an_attempt_that_never_ends_is_given_up_a_second_after_its_timeout() -> None:
    desk = Told()
    waiter = desk.ask()
    permit = desk.out[0]
    desk.hear()
    desk.at(31.9)
    assert ([], []) == (desk.aborted, desk.hear())
    desk.at(32.0)
    assert [permit] == desk.aborted
    assert desk.hear()[0] == ended("network", 0, 31.0, lost=True)
    assert waiter.failure is not None
    assert "no answer (no verdict within 31 s)" in waiter.failure.message


@pytest.mark.parametrize(
    ("outcome", "result"), [(REFUSED, "success"), (MINE, "cancelled"), (COUNTING, "failure"), (SILENCE, "failure")]
)
def test_a_probes_result_is_told(outcome: Outcome, result: str) -> None:
    desk = Told(breaker=QUICK)
    desk.force("open")
    desk.ask(patience=FOREVER)
    desk.at(3.0)
    desk.later(0.5, outcome)
    assert [ev.ProbeFinished(result)] == [event for event in desk.hear() if isinstance(event, ev.ProbeFinished)]


def test_g5_a_probe_of_an_older_generation_is_told_as_cancelled() -> None:
    desk = Told(breaker=QUICK)
    desk.force("open")
    desk.ask(patience=FOREVER)
    desk.at(3.0)
    desk.force("closed")
    desk.hear()
    desk.later(0.5, DOWN_502)
    assert [ended("down", 502, 0.5, probe=True, stale=True), ev.ProbeFinished("cancelled")] == desk.hear()[:2]


def test_g13_a_429_is_one_hold_for_everybody() -> None:
    desk = Told()
    desk.ask()
    desk.ask()
    desk.hear()
    desk.later(0.5, COUNTING)
    held = ev.HoldStarted(30.0, "HTTP 429 from the rate limit", "throttled", 2)
    assert desk.hear() == [
        ended("throttled", 429, 0.5), held, called("error", 0.5), ev.RefreshFinished("miss", "failure", 0.5)
    ]  # fmt: skip
    assert [] == desk.replayed()
    desk.at(31.5)
    assert [begun()] == desk.hear()
    desk.later(0.5, GOOD)
    assert called("ok", 31.0, parked=True) in desk.hear()


def test_g13_a_second_429_prolongs_the_hold_and_does_not_begin_another() -> None:
    desk, _ = served()
    for _ in range(3):
        desk.ask(patience=FOREVER)
    assert len(desk.out) == 2
    desk.later(0.5, COUNTING)
    desk.later(0.5, COUNTING)
    holds = [event for event in desk.hear() if isinstance(event, ev.HoldStarted)]
    assert (1, 32.5) == (len(holds), desk.desk.hold_until)


def test_g13_the_last_permitted_request_holds_everybody() -> None:
    desk = Told()
    desk.ask()
    desk.ask()
    desk.hear()
    desk.later(0.5, Outcome("ok", 200, jwt="j", exhausted_for=20.0))
    held = ev.HoldStarted(20.0, "the rate limit is used up", "exhausted", 2)
    assert [ended("ok", 200, 0.5), held, called("ok", 0.5)] == desk.hear()[:3]
    assert desk.desk.hold_cause == "the rate limit is used up"


def test_g14_a_server_that_refuses_everybody_is_blamed() -> None:
    desk = Told()
    accounts = [Account() for _ in range(5)]
    for account in accounts:
        account.ever_good = True
        waiter = desk.ask(account)
        desk.hear()
        desk.later(0.5, REFUSED)
    assert [ev.ServerBlamed(5), ended("fault", 401, 0.5)] == desk.hear()[:2]
    assert waiter.failure is not None
    assert waiter.failure.message.startswith(
        "/auth/token: HTTP 401 for more than half of the keys that worked a minute ago ("
    )
    assert waiter.failure.code is None


def test_g8_a_window_that_is_cut_says_how_small_it_is_now() -> None:
    desk, _ = served()
    desk.ask(patience=FOREVER)
    desk.hear()
    desk.later(0.5, DOWN_502)
    assert ev.WindowCut(desk.desk.window.size) in desk.events


def test_g17_a_refresh_ahead_of_time_is_soft_and_no_call() -> None:
    desk, account = served()
    desk.at(60_000.0)
    desk.refresh(account)
    desk.refresh(account)
    assert [begun()] == desk.hear()
    desk.later(0.5, DOWN_502)
    assert [ended("down", 502, 0.5), ev.RefreshFinished("soft", "failure", 0.5)] == desk.hear()


def test_g19_a_refresh_that_a_401_forced_says_so() -> None:
    desk, account = served()
    old = account.token
    assert old is not None
    desk.feed(desk.desk.invalidate(account, old, True, desk.now))
    assert (None, True, desk.now, old.ends_wall) == (
        account.token, account.forced, account.forced_at, account.last_expiry,
    )  # fmt: skip
    assert desk.grants[1:] == [(account, None, old)]
    desk.ask(account)
    desk.later(0.5, GOOD)
    assert ev.RefreshFinished("forced", "success", 0.5) in desk.hear()
    assert not account.forced


@pytest.mark.parametrize("forced", [True, False])
def test_g19_a_token_that_was_dropped_by_hand_forces_nothing(forced: bool) -> None:
    desk, account = served()
    account.denial = desk.desk.denials.deny(account, REFUSED, desk.now, desk.wall)
    desk.feed(desk.desk.invalidate(account, account.token, False, desk.now))
    assert (None, False, -float("inf")) == (account.token, account.forced, account.forced_at)
    assert account.denial is not None, "a rejected token says nothing of its key"
    desk.feed(desk.desk.invalidate(account, None, forced, desk.now))
    assert account.denial is None
    assert not account.forced, "there was none left to lose"


def test_a_token_from_the_disk_serves_who_waits_in_the_queue() -> None:
    desk, account = Told(maxsize=1), Account()
    desk.ask()
    waiter = desk.ask(account)
    desk.hear()
    found = issue("disk", 3600.0, 0.0, 0.0, desk.now, desk.wall, TokenConfig())
    desk.feed(desk.desk.adopt(account, found, desk.now, desk.wall))
    assert [ev.TokenAsked("disk"), called("ok", 0.0), ev.RefreshFinished("miss", "success", 0.0)] == desk.hear()
    assert waiter.token is account.token is found
    assert [(account, found, None)] == desk.grants
    desk.feed(desk.desk.adopt(account, found, desk.now, desk.wall))
    assert [] == desk.hear(), "it is no better than what is there"


def test_a_token_from_the_disk_that_is_in_its_margin_ends_no_waiting() -> None:
    desk, account = Told(maxsize=1), Account()
    desk.ask()
    waiter = desk.ask(account)
    account.forced = True
    short = issue("disk", 10.0, 3600.0, 0.0, desk.now, desk.wall, TokenConfig())
    desk.feed(desk.desk.adopt(account, short, desk.now, desk.wall))
    assert (False, False) == (waiter.done, account.forced)


def test_a_token_from_the_disk_leaves_an_attempt_that_is_out_alone() -> None:
    desk, account = Told(), Account()
    waiter = desk.ask(account)
    found = issue("disk", 3600.0, 0.0, 0.0, desk.now, desk.wall, TokenConfig())
    desk.feed(desk.desk.adopt(account, found, desk.now, desk.wall))
    assert not waiter.done
    desk.later(0.5, GOOD)
    assert waiter.token is account.token is not found


def test_g26_a_pool_that_closes_tells_everybody_and_aborts_what_is_out() -> None:
    desk = Told()
    waiters = [desk.ask() for _ in range(2)]
    permit = desk.out[0]
    desk.at(1.5)
    desk.hear()
    desk.feed(desk.desk.close(desk.now))
    assert [permit] == desk.aborted
    assert desk.hear() == [
        called("error", 0.5), ev.RefreshFinished("miss", "failure", 0.5), called("fast_fail", 0.5)
    ]  # fmt: skip
    assert ["PoolClosedError"] * 2 == [type(w.failure.exception()).__name__ for w in waiters if w.failure]
    late = Waiter(Account(), 5.0, None, None)
    desk.feed(desk.desk.demand(late, desk.now, WALL))
    assert [ev.TokenAsked("refused"), called("fast_fail", 0.0)] == desk.hear()
    assert late.failure is not None
    assert late.failure.error.__name__ == "PoolClosedError"


def test_g15_a_spent_code_is_no_attempt_and_its_caller_hears_of_the_next_window() -> None:
    desk, account = Told(), Account(totp=True)
    hasty = desk.ask(account, 10.0)
    desk.hear()
    desk.later(0.5, Outcome(LOCAL, detail="spent", code="AUTH_2FA_REQUIRED", code_wait=True))
    assert desk.hear() == [ended("local", 0, 0.5), ev.RetryDenied("deadline"), called("fast_fail", 0.5)]
    assert hasty.failure is not None
    assert (hasty.failure.message, hasty.failure.code) == ("/auth/token: spent", "AUTH_2FA_REQUIRED")
