"""A reference model of the dispatcher: what may start, who must be told. It decides nothing.

It hears what the dispatcher answers, and objects to an answer that is not allowed, or to one that is missing. Where
the dispatcher is free (the window, jitter, whose turn it is) it holds it to bounds and to its own word: the time of
the next probe is what the dispatcher has announced.
"""

from __future__ import annotations

import math

from .model_world import (
    CLOSED,
    DOWN,
    EPS,
    FAIL_MAX,
    HALF_OPEN,
    LONGEST_PAUSE,
    MAXSIZE,
    OPEN,
    PACE,
    RATIO,
    SAID,
    SILENCE,
    THROTTLED,
    Attempt,
    Call,
    Key,
    World,
)


class Model(World):
    """Judges what the dispatcher answers."""

    def moves(self, old: str, new: str, probe_in: float, *, by_probe: bool) -> None:
        """The breaker has moved; ``by_probe``: a probe follows at once."""
        if new == self.due:
            self.due = None
        elif new == OPEN:
            assert (self.state, self.failures >= FAIL_MAX) == (CLOSED, True), "opened without a reason"
        else:
            assert (self.state, new, by_probe) == (OPEN, HALF_OPEN, True), "moved without a reason"
        assert self.state == old
        if new == CLOSED:
            self.closes()
            return
        self.state, self.period = new, self.period + 1
        if new == OPEN:
            assert max(1.6, self.asked) - EPS <= probe_in <= max(60.0, self.asked) + EPS
            self.probe_at = self.now + probe_in

    def starts(self, key: Key, *, probe: bool, timeout: float) -> Attempt:
        """An attempt begins: was it allowed to?"""
        self.end_pause()
        assert self.now >= max(self.paused_until, key.paused_until, key.denied), "during a hold, or of a refused key"
        assert key.attempt is None, "a second flight of one key"
        assert key.refreshes or any(call not in self.owed for call in key.calls), "for nobody"
        key.refreshes = False
        assert probe == (self.state != CLOSED), "while open nothing but a probe"
        assert len(self.wire) < MAXSIZE
        retry = not probe and key.tried == self.period
        if probe:
            assert self.now >= self.probe_at - EPS or self.state == HALF_OPEN, "before the announced time"
            assert not any(other.probe for other in self.wire), "a second probe"
            assert 5.0 <= timeout <= 30.0
        else:
            self._admitted(retry)
        self.births += 1
        assert probe or not self._overtaken(key), "somebody else's turn"
        key.tried = self.period
        key.attempt = Attempt(key, probe, self.period, self.now, self.now + timeout, self.births, retry, key.era)
        self.wire.append(key.attempt)
        return key.attempt

    def _admitted(self, retry: bool) -> None:
        """The window grows by one with each success at the fastest; the budget holds in any minute."""
        out = [attempt for attempt in self.wire if not attempt.probe and attempt.period == self.period]
        assert len(out) <= self.successes, "more at once than the window can have grown to"
        self.spent.append((self.now, retry))
        assert self._balance(60.0, 60.0) >= 0.0 or not retry, "more retries than the budget allows"

    def _balance(self, firsts: float, retries: float) -> float:
        """What the budget still allows, counting first attempts and retries of so many seconds."""
        first = sum(not retry for at, retry in self.spent if at > self.now - firsts)
        return RATIO * first + self.reserve - sum(retry for at, retry in self.spent if at > self.now - retries)

    def _overtaken(self, key: Key) -> list[Key]:
        """Who should have been served before ``key``, beyond doubt."""
        ready = [
            k
            for k in self.keys
            if k.calls and not k.attempt and max(k.rests, k.spaced, k.paused_until, k.denied) <= self.now
        ]
        starving = [k for k in ready if k is not key and k.expiry <= k.came]  # had no token all the time
        if not key.calls or self.now < key.expiry:
            return starving
        if key.left_early or key.expiry > key.came or self.short is None:
            return []
        return [k for k in starving if not k.left_early and self._precedes(k, key)]

    def _precedes(self, one: Key, other: Key) -> bool:
        """Whether ``one`` goes before ``other``: by failures or, while the limit is short, by hunger."""
        first, second = ((self._starving_since(k) if self.short else k.streak) for k in (one, other))
        if first == second:
            ends, other_ends = (min(call.left for call in k.calls) for k in (one, other))
            return ends < other_ends - EPS
        return first < second - (60.0 if self.short else 0.0)

    def _starving_since(self, key: Key) -> float:
        """Since when there has been no token; a failure takes an hour off it."""
        return (key.lost if key.expiry == -math.inf else key.expiry) + 3600.0 * key.streak

    def gives_up(self, attempt: Attempt) -> None:
        """An attempt is aborted: its time was up, which is no answer."""
        assert self.now >= attempt.ends, "given up before its time"
        self.hears(attempt, SILENCE)

    def reports(self, call: Call, what: str) -> None:
        """A call has its answer: is it the right one, and was it time?"""
        assert not call.reported, "told twice"
        key, call.reported = call.key, what
        due = self.owed.pop(call, None)
        if due is None:
            self._may_leave(call)
        if self.now < key.expiry:
            due = "token"  # it is better than any failure
        if due:
            assert due == what
        else:
            assert what in self._reasons(key), what
        self._gone(call)

    def _reasons(self, key: Key) -> set[str]:
        """What a call may be told that waits no longer."""
        if self.now < max(self.paused_until, key.paused_until):
            return {SAID[THROTTLED], SAID[DOWN], SAID[SILENCE]}  # or what became of its own attempt meanwhile
        return {"CircuitOpenError"} if self.state != CLOSED else {SAID[DOWN], SAID[SILENCE]}

    def _may_leave(self, call: Call) -> None:
        """A call leaves early only if nobody can serve it before its patience ends."""
        others = any(key.calls for key in self.keys if key is not call.key)
        # While open another key's probe may end the outage, and forgive this one's rest.
        ready = (
            call.key.paused_until
            if self.state != CLOSED and others
            else max(call.key.rests, call.key.spaced, call.key.paused_until)
        )
        vain = self.now + call.left <= max(self._helpless(), ready) + EPS
        assert vain or (not call.parks and (self.blocked or ready > self.now)), "sent away too early"

    def _helpless(self) -> float:
        """Before this nobody can be served."""
        paused_until = self.paused_until if self.paused_until - self.now <= LONGEST_PAUSE else math.inf
        return max(
            self.now,
            paused_until if self.now < self.paused_until else 0.0,
            self.probe_at if self.state == OPEN else 0.0,
        )

    # -- what must hold after each input

    def settles(self) -> None:
        """The dispatcher has said all it has to say about this input: was that enough?"""
        self.end_pause()
        assert self.due is None, f"the breaker must be {self.due}"
        assert self.state != CLOSED or self.in_turn < FAIL_MAX, "failures one after the other must open it"
        assert not [call for call in self.owed if not call.reported], "not told"
        self.owed.clear()
        assert all(attempt.ends > self.now for attempt in self.wire), "past its deadline and not given up"
        for key in self.keys:
            for call in key.calls:
                assert key.attempt or self.now + call.left > self._helpless() - EPS, "waits in vain"
                assert key.attempt or call.parks or not self.blocked, "parked, though it never parks"
        ready = [
            key
            for key in self.keys
            if key.calls and not key.attempt and max(key.rests, key.spaced, key.paused_until) <= self.now
        ]
        if ready and self.now >= self.paused_until:
            assert not self._must_start(ready), "somebody could be served, and nothing was started"

    def sets_wakeup(self, at: float) -> None:
        """The dispatcher is woken at ``at``: in time for whatever is due next?"""
        assert at > self.now, "an alarm in the past spins"
        assert all(at <= attempt.ends for attempt in self.wire), "sleeps through a deadline"
        waiting = [key for key in self.keys if key.calls and not key.attempt]
        for key in waiting:
            assert at <= self.now + min(call.left for call in key.calls) + EPS, "sleeps through a patience"
        if waiting and not self.wire and (self.state != CLOSED or self._balance(58.0, 62.0) >= 1.0):
            begins = min(max(key.rests, key.spaced, key.paused_until) for key in waiting)
            gate = self.probe_at if self.state == OPEN else self.idle_since + self.longest + PACE
            assert at <= max(begins, self.paused_until, gate) + EPS, "sleeps through a start"

    def _must_start(self, ready: list[Key]) -> bool:
        if self.state != CLOSED:
            due = self.state == HALF_OPEN or self.now >= self.probe_at + EPS
            return due and len(self.wire) < MAXSIZE and not any(attempt.probe for attempt in self.wire)
        since = max(self.idle_since, min(max(key.rests, key.spaced, key.paused_until) for key in ready))
        idle = not self.wire and self.now >= since + self.longest + PACE
        return idle and self._balance(58.0, 62.0) >= 1.0
