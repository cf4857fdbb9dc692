"""A harness whose every word is kept, and short names for what it says."""

from __future__ import annotations

from typing import Any

import pytest

from colony_pool.config import BreakerConfig
from tests.support.dispatcher_harness import GOOD, DispatcherHarness
from tests.support.private import Account, Outcome, Permit, Token
from tests.support.private import actions as act
from tests.support.private import events as ev

QUICK = BreakerConfig(fail_max=1, min_failure_time=0.0, jitter=0.0)  # one failure opens it, for exactly two seconds


class RecordingHarness(DispatcherHarness):
    """A harness whose every word is kept until it is asked for."""

    def __init__(self, **options: Any) -> None:
        self.grants: list[tuple[Account, Token | None, Token | None]] = []
        self.aborted: list[Permit] = []
        super().__init__(**options)
        self.now = 1.0

    def feed(self, actions: list[act.Action]) -> None:
        for action in actions:
            if isinstance(action, act.TokenChanged):
                self.grants.append((action.account, action.token, action.lost))
            elif isinstance(action, act.CancelAttempt):
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
        self.feed(self.dispatcher.force(state, self.moment))

    def refresh(self, account: Account) -> None:
        self.feed(self.dispatcher.refresh(account, self.moment))


def about(seconds: float) -> Any:
    return pytest.approx(seconds)


def ended(
    kind: str,
    status: int,
    seconds: float,
    *,
    probe: bool = False,
    stale: bool = False,
    lost: bool = False,
    late: bool = False,
) -> ev.AttemptFinished:
    return ev.AttemptFinished(kind, status, about(seconds), probe, stale, lost, late)


def begun(retry_of: str = "", *, probe: bool = False) -> ev.AttemptStarted:
    return ev.AttemptStarted(retry_of, probe)


def called(outcome: str, waited: float, *, parked: bool = False) -> ev.CallFinished:
    return ev.CallFinished(outcome, about(waited), parked)


def served(account: Account | None = None, **options: Any) -> tuple[RecordingHarness, Account]:
    """A harness that has given one token, and was heard."""
    harness, account = RecordingHarness(**options), account or Account()
    harness.ask(account)
    harness.later(0.5, GOOD)
    harness.hear()
    harness.replayed()
    return harness, account
