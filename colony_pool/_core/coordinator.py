"""Processes that share an endpoint: one probe, one pause, one recovery among all of them.

Each process decides by itself, by what a passive store says. It polls the store only while calls are parked, and it
never waits for it: what is unknown is decided alone.

=================== ==================================== ======================================================
here                the store says                       then
=================== ==================================== ======================================================
closed              open, of a generation not yet heard  open here, too: the same cause, delay and level
open                open, of another generation          take over when the next probe leaves
open, half_open     closed, of another generation        close, as after a good probe
open                closed, or nothing at all            the opening got lost: publish it again
open                closed, as a fallback's first word   it closed at another time: publish it
any                 a pause                              the longer one counts, and is published
any                 an operator has ended a pause        end it here, too, unless it began since
a probe is out      anything                             its result is awaited
=================== ==================================== ======================================================

Before a probe leaves, its process asks for the lease (``probe_lease.py``), and half-open begins with the answer. An
answer that never comes counts as none. What a call may lose by waiting for one is fixed where the store is called:
less than 0.2 s over its whole life. Who goes on while everything fails is the matter of ``leadership.py``.

Whatever comes back carries the breaker's generation in which it was asked for. One that is older than the last
change here says how things were before it, and is not believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from . import actions as act
from . import events as ev
from .actions import Outbox
from .breaker import CircuitBreaker
from .flight import InFlight
from .instant import Instant
from .leadership import Leadership
from .limiter import ConcurrencyLimiter
from .probe_lease import ProbeLease
from .rate_limit import RateLimit
from .shared_state import SharedState
from .transitions import StateChange, Transitions
from .waiters import Waiters

_ANSWER = 0.2  # a store that has not answered by then does not; its client's own patience ends before
_REPORT = 1.0  # a lease outlives its probe by this: the report has a way to go
_AGAIN = 0.1
_MEMBER = 30.0
_POLL_LESS = 8.0  # times the period between polls while a breaker's probe is not due yet
_POLLS = 2000.0  # a second, that all processes together may take of their store
_SAME = 1.0  # pauses whose ends are this close are one


class Coordinator:
    """One of several processes. Times are monotonic seconds.

    Arguments:
        period: seconds between two polls of the store.
    """

    def __init__(
        self, period: float, outbox: Outbox, breaker: CircuitBreaker, limiter: ConcurrencyLimiter,
        rate_limit: RateLimit, in_flight: InFlight, waiters: Waiters, transitions: Transitions,
        rand: Callable[[], float],
    ) -> None:  # fmt: skip
        self._period = period
        self._outbox = outbox
        self._breaker = breaker
        self._limiter = limiter
        self._rate_limit = rate_limit
        self._in_flight = in_flight
        self._waiters = waiters
        self._transitions = transitions
        self._rand = rand
        self._lease = ProbeLease()
        self._leadership = Leadership()
        self.generation = 0  # of the record that was adopted last; 0: none
        self.last_idle = -math.inf  # when nobody waited here last
        self._on_fallback = False  # the store has failed, and it is its fallback that answers
        self._left_generation = 0  # of the store's record when the fallback's took its place
        self._members = 1  # processes that have calls parked
        self._joined_until = -math.inf  # this one counts as such
        self._next_poll = -math.inf
        self._is_polling = False
        self._sent_away = 0  # calls that a pause had sent away when the store was last polled

    # -- what the store says --------------------------------------------------------------------------

    def learn(self, state: SharedState, asked: int, at: Instant) -> None:
        """Follow what the store says; ``asked``: the breaker's generation when it was asked."""
        now = at.monotonic
        polled, self._is_polling = self._is_polling, False
        self._count_members(state.members)
        if asked == self._breaker.generation and self._in_flight.probe is None:
            self._follow(state, at, announce=polled)
        self._learn_pause(state, at)
        left = self._rate_limit.left(now)
        if polled and left > state.hold_for + _SAME:
            since = self._rate_limit.paused_since
            self._outbox.add(act.PublishRateLimit(self._breaker.generation, left, self._rate_limit.cause, since))
        self._next_poll = now + self._pause(now)

    def granted(self, request: act.RequestProbeLease, fence: int, now: float) -> None:
        """The store gives the lease."""
        if self._lease.is_requested and self._breaker.state != ev.CLOSED:
            self._lease.granted(fence, _ANSWER, request.seconds)
        elif self._in_flight.probe is not None:  # it left without leave, and is reported with this one
            self._lease.report_with(fence)
        else:  # what was asked for is over
            opening = None if self._breaker.state == ev.CLOSED else self._breaker.open_state(now)
            self._outbox.add(act.ReportProbe(self._breaker.generation, fence, opening))
            self._lease.answered()

    def refused(self, request: act.RequestProbeLease, state: SharedState, at: Instant) -> None:
        """The store does not: another process probes, or the breaker is not open any more."""
        now = at.monotonic
        self._is_polling = True  # it says as much as the answer to a poll
        self.learn(state, request.asked, at)
        unknown = state.opening is None and self._breaker.state != ev.CLOSED and state.hold_for == 0.0
        again = state.opening.probe_in if state.opening is not None else 0.0
        self._lease.refused(now + max(again, state.lease_for, state.hold_for, _AGAIN))
        if self._lease.is_unknown_again(unknown):  # it cannot be told, and would refuse for ever
            self._lease.go_alone(now + request.seconds)

    def led(self, request: act.RequestLeadership, state: SharedState, at: Instant, *, busy: bool) -> None:
        """This process is the one that goes on; or, ``busy``, another one is."""
        self.learn(state, request.asked, at)
        if busy:
            self._leadership.follow(at.monotonic, at.monotonic + self._pause(at.monotonic))
        else:
            self._leadership.lead(at.monotonic)

    def unavailable(self, request: act.ForStore, now: float) -> None:
        """The store did not answer: decide alone."""
        self._count_members(1)  # a recovery begins as that of a process that shares nothing
        if isinstance(request, act.RequestProbeLease) and self._lease.is_requested:
            self._lease.go_alone(now + request.seconds)
        elif isinstance(request, act.RequestLeadership):
            self._leadership.lead(now)
        elif isinstance(request, act.PollStore):
            self._is_polling = False
            self._lease.forget_others()
            self._next_poll = now + self._pause(now)

    def moved(self, *, to_fallback: bool) -> None:
        """Hear another record from now on; who probes by the one before does not count in this one.

        What a fallback has heard is of the last time that the store failed, and no news; of a store that is back
        we want to know what has changed meanwhile.
        """
        if to_fallback:
            self._left_generation = self.generation
        self.generation = 0 if to_fallback else self._left_generation
        self._on_fallback = to_fallback
        self._lease.forget_others()
        self._lease.forget_unknown()

    def _count_members(self, members: int) -> None:
        self._members = max(1, members)
        self._limiter.share_with(self._members)

    def _learn_pause(self, state: SharedState, at: Instant) -> None:
        now = at.monotonic
        cleared_at = -math.inf if state.cleared_ago is None else now - state.cleared_ago
        if self._rate_limit.can_be_cleared(cleared_at, now):
            self._transitions.clear_rate_limit(at, cleared_at=cleared_at, learnt=True)
        since = now - state.hold_age - _ANSWER  # the answer may have been on its way for so long
        # One that is no newer was read before an operator ended it.
        if state.hold_for > 0.0 and self._rate_limit.is_newer_than_clear(since):
            self._transitions.pause(state.hold_for, state.hold_cause, "shared", now, since=since, learnt=True)

    def _follow(self, state: SharedState, at: Instant, *, announce: bool) -> None:
        breaker, now = self._breaker, at.monotonic
        known, self.generation = self.generation, state.generation
        news = state.generation not in (0, known)
        if state.opening is not None:
            if news:
                self._transitions.adopt(state.opening, now)
                self._leadership.end()
            self._lease.request_after(now + state.lease_for)
        elif news and (known or not self._on_fallback) and breaker.state != ev.CLOSED:
            self._transitions.close(at, learnt=True)
            if not self._waiters.flights:
                breaker.reset_delay()
        elif (announce or news) and breaker.state == ev.OPEN:
            self._outbox.add(act.PublishOpen(breaker.generation, state.generation, breaker.open_state(now)))

    # -- what the store is asked, and told ------------------------------------------------------------

    @property
    def awaits_lease(self) -> bool:
        """Whether the store has still to say if a probe may leave."""
        return self._lease.is_requested

    def probe_allowed_at(self, now: float, seconds: float) -> float:
        """When a probe of ``seconds`` may leave or ask again: ``now`` is now."""
        if self._lease.allows(now + seconds):
            return now
        if self._lease.is_overdue(now):
            self._lease.go_alone(now + seconds)
            return now
        if self._lease.may_request(now, _ANSWER):
            self._outbox.add(act.RequestProbeLease(self._breaker.generation, seconds + _REPORT))
        return self._lease.next_step_at()

    def attempt_allowed_at(self, now: float) -> float:
        """When the next attempt may start while closed: later, if another process finds out what this one doubts."""
        leadership = self._leadership
        if not self._limiter.is_suspicious or leadership.is_settled(now):
            return now
        if leadership.is_overdue(now):
            leadership.lead(now)
            return now
        if leadership.may_ask(now, _ANSWER):
            self._outbox.add(act.RequestLeadership(self._breaker.generation, leadership.seconds))
        return leadership.next_step_at(now)

    def succeeded(self) -> None:
        """An attempt has succeeded: the other processes may find out for themselves."""
        if self._leadership.end():
            self._outbox.add(act.ReleaseLeadership())

    def publish(self) -> None:
        """Let the other processes know what has changed here: who has the lease reports, everybody may open."""
        for change in self._transitions.take_changes():
            if isinstance(change, StateChange):
                self._publish_state(change)
            else:
                self._outbox.add(act.PublishRateLimit(change.generation, change.seconds, change.cause, change.since))

    def _publish_state(self, change: StateChange) -> None:
        self._leadership.end()
        if change.state == ev.HALF_OPEN:
            if change.by_operator:  # who does not wait for the others, either
                self._lease.skip()
            return
        fence = self._lease.end()
        if fence is not None:
            self._outbox.add(act.ReportProbe(change.generation, fence, change.opening))
        elif change.opening is not None:
            self._outbox.add(act.PublishOpen(change.generation, self.generation, change.opening))
        elif change.by_operator:
            self._outbox.add(act.PublishReset())

    def publish_clear(self) -> None:
        """An operator has ended a pause."""
        self._outbox.add(act.PublishClear())

    def poll(self, now: float) -> float:
        """Poll the store while calls are parked; return when to do so next (inf: not by the clock)."""
        waiting = self._waiters.count > 0
        if not waiting:
            self.last_idle = now
            if not self._in_flight.permits and self._joined_until > now:
                self._joined_until = -math.inf
                self._outbox.add(act.LeaveGroup())
            if self._waiters.sent_away_by_pause == self._sent_away or not self._rate_limit.is_paused(now):
                return math.inf
        elif not self._waiters.is_blocked(now):
            return math.inf
        if self._next_poll <= now:
            join_for = 0.0
            if waiting and self._joined_until < now + _MEMBER / 2:
                join_for, self._joined_until = _MEMBER, now + _MEMBER
            self._is_polling = True
            self._sent_away = self._waiters.sent_away_by_pause
            self._next_poll = now + _ANSWER + self._pause(now)  # should no answer come
            self._outbox.add(act.PollStore(self._breaker.generation, join_for))
        return self._next_poll if waiting else math.inf

    def _pause(self, now: float) -> float:
        """Until the next poll: longer among many processes, and never in step with the others."""
        pause = max(self._period, self._members / _POLLS)
        if self._breaker.state == ev.OPEN and self._in_flight.probe is None:  # nothing happens before a probe is due
            pause = min(max(self._breaker.probe_at - now, pause), _POLL_LESS * pause)
        return pause * (0.75 + 0.5 * self._rand())


class NullCoordinator:
    """A process that shares nothing: what is asked of it is allowed, and nobody is told anything."""

    generation = 0
    last_idle = -math.inf
    awaits_lease = False

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions

    def learn(self, state: SharedState, asked: int, at: Instant) -> None:
        """There is no store."""

    def granted(self, request: act.RequestProbeLease, fence: int, now: float) -> None:
        """There is no store."""

    def refused(self, request: act.RequestProbeLease, state: SharedState, at: Instant) -> None:
        """There is no store."""

    def led(self, request: act.RequestLeadership, state: SharedState, at: Instant, *, busy: bool) -> None:
        """There is no store."""

    def unavailable(self, request: act.ForStore, now: float) -> None:
        """There is no store."""

    def moved(self, *, to_fallback: bool) -> None:
        """There is no store."""

    def probe_allowed_at(self, now: float, seconds: float) -> float:
        """Now."""
        return now

    def attempt_allowed_at(self, now: float) -> float:
        """Now."""
        return now

    def succeeded(self) -> None:
        """Nobody waits for what this process finds."""

    def publish(self) -> None:
        """Forget what has changed."""
        self._transitions.take_changes()

    def publish_clear(self) -> None:
        """Nobody else is to know."""

    def poll(self, now: float) -> float:
        """Never."""
        return math.inf
