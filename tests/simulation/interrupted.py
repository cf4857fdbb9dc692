"""An exception from outside at a line of a decision, and what has become of permits, calls and keys afterwards.

A signal's handler, Dramatiq or ``func_timeout`` raise between any two steps. Here an exception strikes at each line
of the deciding code in turn. What the shell does then is done: the dispatcher is mended, and the input put once more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import colony_pool
from colony_pool.config import BreakerConfig, RetryConfig
from tests.support.dispatcher_harness import COUNTING, DOWN_502, GOOD, MINE, REFUSED, DispatcherHarness
from tests.support.private import Account, Instant, Outcome, Permit, Waiter
from tests.support.private import actions as act

CORE = str(Path(colony_pool.__file__).parent / "_core")
Input = Callable[[Instant], list[act.Action]]


class Struck(BaseException):
    """What comes from outside."""


class InterruptedHarness(DispatcherHarness):
    """A dispatcher whose input number ``at`` is struck at its line ``line``."""

    def __init__(self, at: int, line: int, **options: Any) -> None:
        super().__init__(**options)
        self.at_input, self.line = at, line
        self.number = 0  # of inputs
        self.struck = False
        self.callers: dict[Waiter, None] = {}

    def put(self, step: Input) -> None:
        self.number += 1
        if self.number != self.at_input:
            self.feed(step(self.moment))
            return
        try:
            actions = self._under_fire(step)
        except Struck:
            self.struck = True
            self.feed(self.dispatcher.mend(tuple(self.callers), set(self.asked), self.moment))
            actions = step(self.moment)
        self.feed(actions)

    def _under_fire(self, step: Input) -> list[act.Action]:
        lines = count(1)

        def trace(frame: FrameType, event: str, arg: Any) -> Any:
            if not frame.f_code.co_filename.startswith(CORE):
                return None
            if event == "line" and next(lines) == self.line:
                raise Struck
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            return step(self.moment)
        finally:
            sys.settrace(before)

    def feed(self, actions: list[act.Action]) -> None:
        for action in actions:
            if isinstance(action, act.Wake):
                self.callers.pop(action.waiter, None)
        known = (self.dispatcher.in_flight.permits - set(self.out)) if hasattr(self, "dispatcher") else set()
        super().feed([a for a in actions if not isinstance(a, act.StartAttempt) or a.permit in known])

    def call(self, account: Account, patience: float = 122.0) -> Waiter:
        waiter = Waiter(account, patience)
        self.callers[waiter] = None
        self.put(
            lambda at: [] if waiter.joined == waiter.joined else self.dispatcher.demand(waiter, at)
        )  # fmt: skip
        return waiter

    def leave(self, waiter: Waiter) -> None:
        self.callers.pop(waiter, None)
        self.put(lambda at: self.dispatcher.cancel(waiter, at))

    def end(self, outcome: Outcome, permit: Permit | None = None) -> None:
        if self.out:
            ended = self.out.pop(0)
            self.put(lambda at: self.dispatcher.result(ended, outcome, at))

    def wait(self, seconds: float) -> None:
        """Let time pass; each time that the dispatcher wants to be woken is an input."""
        until = self.now + seconds
        while self.wake <= until:
            self.now = max(self.now, self.wake)
            self.put(self.dispatcher.tick)
        self.now = until


def _blip(harness: InterruptedHarness) -> None:
    """Keys succeed, fail, back off, are cancelled, refused, invalidated; one has a second factor."""
    first, second, third, code = Account(), Account(), Account(), Account(totp=True)
    harness.call(first)
    harness.call(second)
    leaving = harness.call(third)
    harness.end(GOOD)
    harness.call(code)
    harness.call(second)
    harness.leave(leaving)
    harness.end(DOWN_502)
    harness.end(DOWN_502)
    harness.wait(3.0)
    harness.end(GOOD)
    harness.end(MINE)
    harness.end(REFUSED)
    harness.put(lambda at: harness.dispatcher.invalidate(first, at))
    harness.call(first)
    harness.end(GOOD)
    harness.put(lambda at: harness.dispatcher.refresh(first, at))


def _outage(harness: InterruptedHarness) -> None:
    """The breaker opens, probes fail and succeed, a call does not wait, a server counts, patience ends."""
    accounts = [Account() for _ in range(4)]
    for account in accounts:
        harness.call(account)
    for _ in range(3):
        harness.end(DOWN_502)
        harness.wait(1.0)
    harness.call(Account(), patience=0.0)
    harness.call(Account(), patience=3.0)
    harness.wait(4.0)
    harness.end(DOWN_502)
    harness.wait(9.0)
    harness.end(GOOD)
    harness.end(COUNTING)
    harness.call(accounts[0])
    harness.wait(31.0)
    harness.end(GOOD)
    harness.put(lambda at: harness.dispatcher.force("open", at))
    harness.put(lambda at: harness.dispatcher.force("closed", at))


def _guarded(harness: InterruptedHarness) -> None:
    """Calls of users' own count: they open the breaker, and one at a time finds out, beside a probe, too."""
    core = harness.dispatcher

    def guarded(failure: str | None) -> None:
        call = core.guarded.arrive()
        if not call.passes:
            harness.put(lambda at: core.admit_guarded(call, at))
        if call.passes:
            harness.put(lambda at: core.guarded_ended(call, failure, at))

    for failure in ("", "boom", "boom", None, "boom"):
        guarded(failure)
    harness.wait(3.0)
    guarded("boom")
    harness.call(Account())
    harness.wait(3.0)
    guarded("")
    harness.end(DOWN_502)
    harness.wait(9.0)
    guarded("")
    harness.put(lambda at: core.set_fail_max(1, at))
    guarded("boom")
    harness.wait(9.0)
    guarded(None)
    guarded("")


PLAYS: dict[str, Callable[[InterruptedHarness], None]] = {"blip": _blip, "outage": _outage, "guarded": _guarded}


def _new(at: int, line: int) -> InterruptedHarness:
    return InterruptedHarness(
        at, line, breaker=BreakerConfig(fail_max=3, min_failure_time=0.0), retry=RetryConfig(), seed=1
    )


def _end_well(harness: InterruptedHarness) -> str:
    """Let the server be well; what is wrong in the end."""
    for _ in range(400):
        while harness.out:
            harness.end(GOOD)
        if not harness.dispatcher.waiters.flights and not harness.callers:
            break
        harness.wait(1.0)
    core = harness.dispatcher
    wrong = {
        "calls that wait": len(harness.callers), "flights": len(core.waiters.flights), "waiting": core.waiters.count,
        "permits": len(core.in_flight.permits), "slots": core.limiter.active,
        "impatient": len(core.waiters._nonblocking),
    }  # fmt: skip
    return ", ".join(f"{what}: {number}" for what, number in wrong.items() if number)


def strike(name: str, every: int) -> tuple[int, list[str]]:
    """Strike at each ``every``-th line of each input of a play: how many strikes there were, and what was wrong."""
    whole = _new(0, 0)
    PLAYS[name](whole)
    inputs, wrong = whole.number, [problem] if (problem := _end_well(whole)) else []
    strikes = 0
    for at in range(1, inputs + 1):
        for line in count(1 + at % every, every):
            harness = _new(at, line)
            PLAYS[name](harness)
            if not harness.struck:
                break
            strikes += 1
            if problem := _end_well(harness):
                wrong.append(f"input {at}, line {line}: {problem}")
    return strikes, wrong
