"""Calls of users' own that the breaker guards: which may pass, and what their results count.

Ordinarily they pass by a look at the breaker, and count nothing. With ``count_guarded_calls`` each is an input, and
its result is evidence as an attempt's is: ``fail_max`` failures in a row, of either kind, open the breaker.

============================= =========================================================================
while the breaker is          a guarded call
============================= =========================================================================
closed                        passes
open, the probe is not due    is refused
a probe is out                is refused
otherwise: the next request   passes: it may be what asks for a token, and else nobody would ever find
for a token would be a probe  out. Where calls count, one passes at a time: it is the trial
============================= =========================================================================

The trial is no probe. It does not keep the probe from leaving, which its own request for a token may be, and the
verdict of whichever is first counts: it begins a new generation. A trial without a verdict is void at its deadline.
"""

from __future__ import annotations

from . import events as ev
from .admission import Admission
from .breaker import CircuitBreaker
from .instant import Instant
from .transitions import Transitions


class GuardedCall:
    """One call whose result counts.

    Attributes:
        passes: it may be made.
        has_opened: its failure has opened the breaker.
        deadline: of a trial, monotonic seconds.
        generation: of the breaker when it was let pass.
        period: as above.
    """

    __slots__ = ("deadline", "generation", "has_ended", "has_opened", "is_trial", "passes", "period")

    deadline: float
    generation: int
    period: int

    def __init__(self) -> None:
        self.passes = False
        self.is_trial = False
        self.has_ended = False
        self.has_opened = False


class GuardedCalls:
    """Lets guarded calls pass, and counts their results where they count.

    Arguments:
        trial_timeout: seconds after which a trial that has not ended keeps no other one.
    """

    def __init__(
        self, trial_timeout: float, breaker: CircuitBreaker, transitions: Transitions, admission: Admission
    ) -> None:
        self._trial_timeout = trial_timeout
        self._breaker = breaker
        self._transitions = transitions
        self._admission = admission
        self._trial: GuardedCall | None = None

    def may_pass(self, now: float) -> bool:
        """Whether a call that does not count may pass. It changes nothing, so any task may ask."""
        return self._breaker.state == ev.CLOSED or self._admission.may_probe(now)

    def arrive(self) -> GuardedCall:
        """A call that counts; while the breaker is closed it passes. It changes nothing, so any task may ask."""
        call = GuardedCall()
        if self._breaker.state == ev.CLOSED:
            self._let_pass(call)
        return call

    def is_trial(self, call: GuardedCall) -> bool:
        """Whether ``call`` is the trial whose verdict is awaited. It changes nothing."""
        return call is self._trial and call.generation == self._breaker.generation

    def admit(self, call: GuardedCall, now: float) -> None:
        """Let ``call`` pass while the breaker is closed, and as the trial if there is no other."""
        breaker = self._breaker
        if breaker.state != ev.CLOSED:
            if not self._admission.may_probe(now) or self._has_trial_beside(call, now):
                return
            if breaker.state == ev.OPEN:
                self._transitions.half_open(now)
            call.is_trial = True
            call.deadline = now + self._trial_timeout
            self._trial = call
        self._let_pass(call)

    def _let_pass(self, call: GuardedCall) -> None:
        call.generation, call.period = self._breaker.generation, self._breaker.period
        call.passes = True

    def _has_trial_beside(self, call: GuardedCall, now: float) -> bool:
        trial = self._trial
        if trial is None or trial is call:
            return False
        return trial.generation == self._breaker.generation and now < trial.deadline

    def end(self, call: GuardedCall, failure: str | None, at: Instant) -> None:
        """Count the result of ``call``: "" is a success, ``None`` is none, other words say how it failed."""
        if call.has_ended:  # an interrupt came after it was counted
            return
        call.has_ended = True
        if self._trial is call:
            self._trial = None
        if failure is None:
            return
        if call.is_trial:
            self._judge_trial(call, failure, at)
        elif self._breaker.state == ev.CLOSED and call.period == self._breaker.period:
            self._judge(call, failure, at.monotonic)

    def _judge(self, call: GuardedCall, failure: str, now: float) -> None:
        if not failure:
            self._breaker.succeeded()
        elif self._breaker.failed():
            self._open(call, failure, now)

    def _judge_trial(self, call: GuardedCall, failure: str, at: Instant) -> None:
        if call.generation != self._breaker.generation:  # another verdict, or an operator, was first
            return
        if failure:
            self._breaker.failed()
            self._open(call, failure, at.monotonic)
        else:
            self._transitions.close(at)

    def _open(self, call: GuardedCall, failure: str, now: float) -> None:
        self._transitions.open(now, failure, 0, guarded=True)
        call.has_opened = True
