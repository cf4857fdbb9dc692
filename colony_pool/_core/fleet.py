"""Processes that share an endpoint: one probe, one hold, one recovery among all of them.

Each desk decides by itself, by what a passive store says. It looks at the store only while calls are parked, and it
never waits for it: what is unknown is decided alone.

=================== ==================================== ======================================================
here                the store says                       then
=================== ==================================== ======================================================
closed              open, of a generation not yet heard  open here, too: the same cause, delay and level
open                open, of another generation          take over when the next probe leaves
open, half_open     closed, of another generation        close, as after a good probe
open                closed, or nothing at all            the opening got lost: tell it again
open                closed, as a fallback's first word   it closed at another time: tell it
any                 a hold                               the longer one counts, and the shorter is told of it
any                 an operator has ended a hold         end it here, too, unless it began since
a probe is out      anything                             its verdict is awaited
=================== ==================================== ======================================================

Before a probe leaves the desk asks, and half-open begins with the answer: *granted* (one process has the lease, and
its number is the fence with which it reports), *refused* (another one probes: come back when its lease ends), or
*unavailable* (decide alone). An answer that never comes is the last of these. What a call may lose by waiting for
one is fixed in ``_shared/health.py``: less than 0.2 s over its whole life.

While closed each process counts its own failures, and eight of them would need eight times as many as one to see
that the endpoint is down. So a process that doubts, since everything it tried has failed or fails more often than
chance explains, asks to *lead*: one goes on, and the others wait for what it finds, but not for long.

Whatever comes back carries the breaker's generation in which it was asked for. One that is older than the last
change here says how things were before it, and is not believed.
"""

from __future__ import annotations

import math

from . import actions as act
from . import events as ev
from .members import Fleet
from .moves import Moves
from .view import View

_ANSWER = 0.2  # a store that has not answered by then does not; the link's own patience ends before
_REPORT = 1.0  # a lease outlives its probe by this: the verdict has a way to go
_AGAIN = 0.1
_MEMBER = 30.0
_LEAD = 5.0
_FOLLOW = 30.0  # longer than a breaker needs to open where everything fails
_LOOK_LESS = 8.0  # times the period between looks at a breaker whose probe is not due yet
_LOOKS = 2000.0  # a second, that a fleet may take of its store
_ALIKE = 1.0  # holds that end this close are one


class Sharing(Moves):
    """The desk as one of several."""

    def _learn(self, view: View, asked: int, now: float) -> None:
        """Adopt what the store says."""
        fleet = self.fleet
        assert fleet is not None  # noqa: S101 - else nobody was asked
        looked, fleet.looking = fleet.looking, False
        fleet.members = max(1, view.members)
        if asked == self.circuit.generation and self.lease is None:
            self._follow(fleet, view, now, tell=looked)
        self._learn_hold(view, now)
        if looked and self.hold_until - now > view.hold_for + _ALIKE:
            rest = self.hold_until - now
            self._out.append(act.TellHold(self.circuit.generation, rest, self.hold_cause, self.hold_since))
        fleet.look_at = now + self._pause(fleet)

    def _learn_hold(self, view: View, now: float) -> None:
        cleared_at = -math.inf if view.cleared_ago is None else now - view.cleared_ago
        if self.hold_since < cleared_at <= now and (self.hold_until > now or self._held_keys):
            self._clear_rate_limit(now, at=cleared_at, learnt=True)
        since = now - view.hold_age - _ANSWER  # the answer may have been on its way for so long
        if view.hold_for > 0.0 and since > self._cleared_at:  # else it was read before an operator ended it
            self._hold(view.hold_for, view.hold_cause, "shared", now, since=since)

    def _follow(self, fleet: Fleet, view: View, now: float, *, tell: bool) -> None:
        known, fleet.generation = fleet.generation, view.generation
        news = view.generation not in (0, known)
        if view.opening is not None:
            if news:
                self._follow_opening(view.opening, now)
            fleet.ask_at = now + view.lease_for
        elif news and (known or not fleet.on_fallback) and self.circuit.state != ev.CLOSED:
            self._close_circuit(now, learnt=True)
            if not self.flights:
                self.circuit.drained()
        elif (tell or news) and self.circuit.state == ev.OPEN:
            self._out.append(act.TellOpen(self.circuit.generation, view.generation, self.circuit.opening(now)))

    def _granted(self, ask: act.Ask, fence: int, now: float) -> None:
        fleet = self.fleet
        assert fleet is not None  # noqa: S101 - else nobody has asked
        if fleet.asking and self.circuit.state != ev.CLOSED:
            fleet.lease_until = fleet.answer_by - _ANSWER + ask.seconds
            fleet.fence = fence
        elif self.lease is not None:  # it left without leave, and will report with this one
            fleet.fence = fence
        else:  # what was asked for is over
            opening = None if self.circuit.state == ev.CLOSED else self.circuit.opening(now)
            self._out.append(act.Conclude(self.circuit.generation, fence, opening))
        fleet.answer_by = math.inf

    def _refused(self, ask: act.Ask, view: View, now: float) -> None:
        fleet = self.fleet
        assert fleet is not None  # noqa: S101 - else nobody has asked
        fleet.looking = True  # it says as much as an answer to a look
        self._learn(view, ask.asked, now)
        fleet.answer_by = math.inf
        unheard = view.opening is None and self.circuit.state != ev.CLOSED and view.hold_for == 0.0
        if unheard and fleet.unheard:  # it cannot be told, and would refuse for ever
            fleet.lease_until = now + ask.seconds
        fleet.unheard = unheard and not fleet.unheard
        again = view.opening.probe_in if view.opening is not None else 0.0
        fleet.ask_at = now + max(again, view.lease_for, view.hold_for, _AGAIN)

    def _decide_alone(self, request: act.ForStore, now: float) -> None:
        fleet = self.fleet
        assert fleet is not None  # noqa: S101 - else nobody has asked
        fleet.members = 1  # a recovery begins as that of a process that shares nothing
        if isinstance(request, act.Ask) and fleet.asking:
            fleet.answer_by = math.inf
            fleet.lease_until = now + request.seconds
        elif isinstance(request, act.Lead):
            fleet.lead_answer_by, fleet.lead_until = math.inf, now + request.seconds
        elif isinstance(request, act.Look):
            fleet.looking = False
            fleet.ask_at = -math.inf  # whether another one still probes is not known any more
            fleet.look_at = now + self._pause(fleet)

    def _permitted_at(self, now: float, seconds: float) -> float:
        """When a probe of ``seconds`` may leave or ask again: ``now`` is now."""
        fleet = self.fleet
        if fleet is None or fleet.lease_until >= now + seconds:
            return now
        if fleet.answer_by <= now:
            fleet.answer_by = math.inf
            fleet.lease_until = now + seconds
            return now
        if not fleet.asking and fleet.ask_at <= now:
            fleet.end_lease()
            fleet.answer_by = now + _ANSWER
            self._out.append(act.Ask(self.circuit.generation, seconds + _REPORT))
        return fleet.answer_by if fleet.asking else fleet.ask_at

    def _goes_on_at(self, now: float) -> float:
        """When the next attempt may start while closed: later, if another process finds out what this one doubts."""
        fleet = self.fleet
        if fleet is None or not self.window.doubtful or now < fleet.lead_until or now >= fleet.follow_until:
            return now
        if fleet.lead_answer_by <= now:
            fleet.lead_answer_by, fleet.lead_until = math.inf, now + _LEAD
            return now
        if fleet.lead_answer_by == math.inf and fleet.lead_at <= now:
            fleet.lead_answer_by = now + _ANSWER
            self._out.append(act.Lead(self.circuit.generation, _LEAD))
        return min(fleet.lead_answer_by, max(fleet.lead_at, now + _AGAIN), fleet.follow_until)

    def _led(self, busy: bool, view: View, asked: int, now: float) -> None:
        self._learn(view, asked, now)
        fleet = self.fleet
        assert fleet is not None  # noqa: S101 - else nobody has asked
        fleet.lead_answer_by = math.inf
        if busy:
            fleet.follow_until = min(fleet.follow_until, now + _FOLLOW)
            fleet.lead_at = now + self._pause(fleet)
        else:
            fleet.lead_until = now + _LEAD

    def _end_doubt(self, *, tell: bool) -> None:
        if self.fleet is not None and self.fleet.end_doubt() and tell:
            self._out.append(act.EndLead())

    def _look(self, now: float) -> float:
        """Look at the store while calls are parked; return when to do so next (inf: not by the clock)."""
        fleet = self.fleet
        if fleet is None:
            return math.inf
        if not self.waiting:
            fleet.idle_at = now
            if not self.live and fleet.joined_until > now:
                fleet.joined_until = -math.inf
                self._out.append(act.Leave())
            if not fleet.hold_met or self.hold_until <= now:
                return math.inf
        elif not self._blocked(now):
            return math.inf
        if fleet.look_at <= now:
            join_for = 0.0
            if self.waiting and fleet.joined_until < now + _MEMBER / 2:
                join_for, fleet.joined_until = _MEMBER, now + _MEMBER
            fleet.looking, fleet.hold_met = True, False
            fleet.look_at = now + _ANSWER + self._pause(fleet)  # should no answer come
            self._out.append(act.Look(self.circuit.generation, join_for))
        return fleet.look_at if self.waiting else math.inf

    def _pause(self, fleet: Fleet) -> float:
        """Until the next look: longer in a large fleet, and never in step with the others."""
        pause = max(fleet.period, fleet.members / _LOOKS)
        if self.circuit.state == ev.OPEN and self.lease is None:  # nothing happens before a probe is due
            pause = min(max(self.circuit.probe_at - self._seen, pause), _LOOK_LESS * pause)
        return pause * (0.75 + 0.5 * self._rand())
