"""The mutants that may survive, each with its reason. Matched by words, not by number or line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CORE = "colony_pool/_core/"
DRIVER = "colony_pool/_driver/"


@dataclass(frozen=True)
class Survivor:
    """``line`` of ``function`` became ``becomes``, and no test can mind, because of ``reason``."""

    module: str
    function: str
    line: str
    becomes: str
    reason: str = ""


def because(reason: str, module: str, function: str, line: str, *becomes: str) -> Iterator[Survivor]:
    """Several mutants of one line, for one reason."""
    return (Survivor(module, function, line, one, reason) for one in becomes)


_FALSE = "None is as false as False, and it is asked nothing else"
_CAPPED = "so many doublings are longer than any cap already; the bound keeps a float from overflowing"
_RARE = "a chance that is exactly one in ten thousand does not occur"
_STRICT = "a guard against our own mistakes: there are as many of both, as the line before has found"
_RANKED = "it only saves work: ranked anew the order is the same, or a truer one where a token has ended meanwhile"
_BEYOND = "seconds or milliseconds, it is beyond belief"
_RACE = "only another thread may have taken it out in between"
_NOUGHT = "no time has passed: nought is added"
_STAMP = "it is compared for being the same, by however much it differs"
_GENERATION = "no generation of a breaker is below 0, and None is none"

SURVIVORS: tuple[Survivor, ...] = (
    *because(
        _STAMP, CORE + "account.py", "Account.__init__",
        "self.era = 0  # one more with each ``invalidate()``: what was asked for in an earlier one is void",
        "self.era = 1  # one more with each ``invalidate()``: what was asked for in an earlier one is void",
    ),
    *because(
        "it is asked only whether it is a certain flight, and neither is one",
        CORE + "admission.py", "Admission.__init__",
        "self._without_budget: Flight | None = None  # whose retry the budget refused last",
        'self._without_budget: Flight | None = ""  # whose retry the budget refused last',
    ),
    *because(
        _CAPPED, CORE + "admission.py", "Admission._start_probe",
        "timeout = self._config.probe_timeout * 2.0 ** min(self._breaker.lost_probes, 30)",
        "timeout = self._config.probe_timeout * 2.0 ** min(self._breaker.lost_probes, 31)",
    ),
    *because(
        _CAPPED, CORE + "breaker.py", "CircuitBreaker.open",
        "delay = min(self._config.open_delay * 2.0 ** min(self.level, 60), self._config.open_delay_max)",
        "delay = min(self._config.open_delay * 2.0 ** min(self.level, 61), self._config.open_delay_max)",
    ),
    *because(
        _FALSE, CORE + "codes.py", "CodeRequests.free_at",
        "self._recent.popitem(last=False)",
        "self._recent.popitem(last=None)",
    ),
    *because(
        "what ends this very moment is of no use any more; it is forgotten at the next call",
        CORE + "codes.py", "CodeRequests.given",
        "while self._ready_until and next(iter(self._ready_until.values())) <= now:",
        "while self._ready_until and next(iter(self._ready_until.values())) < now:",
    ),
    *because(
        _FALSE, CORE + "codes.py", "CodeRequests.given",
        "self._ready_until.popitem(last=False)",
        "self._ready_until.popitem(last=None)",
    ),
    *because(
        _FALSE, CORE + "coordinator.py", "Coordinator.__init__",
        "self._on_fallback = False  # the store has failed, and it is its fallback that answers",
        "self._on_fallback = None  # the store has failed, and it is its fallback that answers",
    ),
    *because(
        "it is written when the fallback takes over, before it is read when the store is back",
        CORE + "coordinator.py", "Coordinator.__init__",
        "self._left_generation = 0  # of the store's record when the fallback's took its place",
        "self._left_generation = None  # of the store's record when the fallback's took its place",
        "self._left_generation = 1  # of the store's record when the fallback's took its place",
    ),
    *because(
        "two processes look as often as one: only hundreds look more rarely",
        CORE + "coordinator.py", "Coordinator.__init__",
        "self._members = 1  # processes that have calls parked",
        "self._members = 2  # processes that have calls parked",
    ),
    *because(
        _FALSE, CORE + "coordinator.py", "Coordinator.__init__",
        "self._is_polling = False",
        "self._is_polling = None",
    ),
    *because(
        _FALSE, CORE + "coordinator.py", "Coordinator.unavailable",
        "self._is_polling = False",
        "self._is_polling = None",
    ),
    *because(
        "neither is a moment between the beginning of a pause and now",
        CORE + "coordinator.py", "Coordinator._learn_pause",
        "cleared_at = -math.inf if state.cleared_ago is None else now - state.cleared_ago",
        "cleared_at = +math.inf if state.cleared_ago is None else now - state.cleared_ago",
    ),
    *because(
        "a pause of no seconds is none", CORE + "coordinator.py", "Coordinator._learn_pause",
        "if state.hold_for > 0.0 and self._rate_limit.is_newer_than_clear(since):",
        "if state.hold_for >= 0.0 and self._rate_limit.is_newer_than_clear(since):",
    ),
    *because(
        "who leaves in the moment in which its membership ends is out of it anyway",
        CORE + "coordinator.py", "Coordinator.poll",
        "if not self._in_flight.permits and self._joined_until > now:",
        "if not self._in_flight.permits and self._joined_until >= now:",
    ),
    *because(
        _FALSE, CORE + "denials.py", "DenialCache.learn",
        "account.denial = Denial(now + shared.seconds, shared.times, failure, code_only=False)",
        "account.denial = Denial(now + shared.seconds, shared.times, failure, code_only=None)",
    ),
    *because(
        _FALSE, CORE + "dispatcher.py", "Dispatcher.__init__",
        "self._is_closed = False",
        "self._is_closed = None",
    ),
    *because(
        _STAMP, CORE + "dispatcher.py", "Dispatcher.invalidate",
        "account.era += 1",
        "account.era -= 1",
        "account.era += 2",
    ),
    *because(
        "it is put where it is already", CORE + "dispatcher.py", "Dispatcher._join",
        "if not flight.has_no_waiters and (had_no_waiters or flight.deadline() < before):",
        "if not flight.has_no_waiters and (had_no_waiters or flight.deadline() <= before):",
    ),
    *because(
        _CAPPED, CORE + "flight.py", "rest_after",
        "return float(min(_FIRST_REST * 2.0 ** min(times - 1, 10), _LONGEST_REST))",
        "return float(min(_FIRST_REST * 2.0 ** min(times - 1, 11), _LONGEST_REST))",
    ),
    *because(
        "it only tells permits of one deadline apart", CORE + "flight.py", "InFlight.__init__",
        "self._count = 0",
        "self._count = 1",
    ),
    *because(
        "it only tells permits of one deadline apart", CORE + "flight.py", "InFlight.start",
        "self._count += 1",
        "self._count += 2",
    ),
    *because(
        "lives are counted from 1", CORE + "flight.py", "Flight.__init__",
        "self._schedule_epoch = 0",
        "self._schedule_epoch = None",
    ),
    *because(
        "the first failure writes it, before it is read", CORE + "flight.py", "Flight.__init__",
        "self._began = _NEVER  # when its schedule did, in the flight's own time",
        "self._began = None  # when its schedule did, in the flight's own time",
    ),
    *because(
        "the first failure writes it, before it is read", CORE + "flight.py", "Flight.__init__",
        "self._due = _NEVER  # when the schedule's next attempt is, in the flight's own time",
        "self._due = None  # when the schedule's next attempt is, in the flight's own time",
    ),
    *because(
        _GENERATION, CORE + "flight.py", "Flight.__init__",
        "self.last_generation = -1  # the breaker's generation in which it was tried last",
        "self.last_generation = -2  # the breaker's generation in which it was tried last",
    ),
    *because(
        "None is as empty, and the second caller brings a heap of its own", CORE + "flight.py", "Flight.__init__",
        "self._heap = _NO_HEAP  # by deadline; a lone waiter needs none",
        "self._heap = None  # by deadline; a lone waiter needs none",
    ),
    *because(
        _FALSE, CORE + "guarded.py", "GuardedCall.__init__", "self.has_ended = False", "self.has_ended = None",
    ),
    *because(
        _STRICT, CORE + "headers.py", "_families",
        "yield from (Limit(*pair) for pair in zip(counts, resets, strict=True) if pair != (None, None))",
        "yield from (Limit(*pair) for pair in zip(counts, resets, strict=None) if pair != (None, None))",
        "yield from (Limit(*pair) for pair in zip(counts, resets, ) if pair != (None, None))",
        "yield from (Limit(*pair) for pair in zip(counts, resets, strict=False) if pair != (None, None))",
    ),
    *because(
        "a name tells no number: as a parameter nobody asks for it", CORE + "headers.py", "_members",
        'pairs = [part.partition("=") for part in (rest if named else [first, *rest])]',
        'pairs = [part.partition("=") for part in (rest if (named) and False else [first, *rest])]',
    ),
    *because(
        "keys are counted from 1", CORE + "history.py", "LossHistory.__init__",
        "self._succeeded = _NOBODY  # the key of the last success",
        "self._succeeded = None  # the key of the last success",
    ),
    *because(
        "the first success writes it, before it is read", CORE + "history.py", "LossHistory.__init__",
        "self._before = -math.inf  # when another key than that one succeeded last",
        "self._before = None  # when another key than that one succeeded last",
        "self._before = +math.inf  # when another key than that one succeeded last",
    ),
    *because(
        _RARE, CORE + "history.py", "LossHistory.succeeded",
        "ends_outage = self.only_key is None and self.likely**self._run < _CHANCE",
        "ends_outage = self.only_key is None and self.likely**self._run <= _CHANCE",
    ),
    *because(
        _RARE, CORE + "history.py", "LossHistory.excuses",
        "return self.likely**worst >= _CHANCE",
        "return self.likely**worst > _CHANCE",
    ),
    *because(
        "the next failure writes both; a run of none ends no outage", CORE + "history.py", "LossHistory._end_run",
        "self._failed = self.only_key = _NOBODY",
        "self._failed = self.only_key = None",
    ),
    *because(
        _FALSE, CORE + "limiter.py", "ConcurrencyLimiter.__init__",
        "self._has_rtt = False",
        "self._has_rtt = None",
    ),
    *because(
        _RARE, CORE + "limiter.py", "ConcurrencyLimiter.failed",
        "if not shed and self.chance(self._streak) < _DOWN_CHANCE:",
        "if not shed and self.chance(self._streak) <= _DOWN_CHANCE:",
    ),
    *because(
        "the pattern matches every text, be it at nothing", CORE + "outcome.py", "redirect_target",
        'scheme = start.group() if start is not None else ""',
        'scheme = start.group() if (start is not None) or True else ""',
        'scheme = start.group() if start is not None else "XXXX"',
    ),
    *because(
        "only what stands before the first mark is read", CORE + "outcome.py", "redirect_target",
        "rest = _HIDDEN.split(location[len(scheme) :], maxsplit=1)[0]",
        "rest = _HIDDEN.split(location[len(scheme) :], )[0]",
        "rest = _HIDDEN.split(location[len(scheme) :], maxsplit=2)[0]",
    ),
    *because(
        _FALSE, CORE + "probe_lease.py", "ProbeLease.__init__",
        "self._was_unknown = False  # the store has refused, since it has not heard that the breaker is open",
        "self._was_unknown = None  # the store has refused, since it has not heard that the breaker is open",
    ),
    *because(
        _FALSE, CORE + "probe_lease.py", "ProbeLease.forget_unknown",
        "self._was_unknown = False",
        "self._was_unknown = None",
    ),
    *because(
        "it differs from both, so that what is in order is ordered once more", CORE + "queue.py", "Queue.__init__",
        "self._longest_starved_first = False",
        "self._longest_starved_first = None",
    ),
    *because(
        _FALSE, CORE + "queue.py", "Queue.__init__",
        "self._has_failed = False  # a ready one may have failed in this period",
        "self._has_failed = None  # a ready one may have failed in this period",
    ),
    *because(
        _RANKED, CORE + "queue.py", "Queue.__init__",
        "self._has_failed = False  # a ready one may have failed in this period",
        "self._has_failed = True  # a ready one may have failed in this period",
    ),
    *because(
        _STAMP, CORE + "queue.py", "Queue.put",
        "flight.heap_version += 1",
        "flight.heap_version += 2",
    ),
    *because(
        _RANKED, CORE + "queue.py", "Queue._ranked",
        "self._has_failed = self._has_failed or fails > 0",
        "self._has_failed = self._has_failed or fails >= 0",
    ),
    *because(
        "a filler: the heap of deadlines has entries of the same shape as that of sleepers",
        CORE + "queue.py", "Queue.watch",
        "heappush(self._expiry, (deadline, flight.serial, 0, flight))",
        "heappush(self._expiry, (deadline, flight.serial, 1, flight))",
    ),
    *because(
        _FALSE, CORE + "queue.py", "Queue.forgive",
        "self._has_failed = False",
        "self._has_failed = None",
    ),
    *because(
        _RANKED, CORE + "queue.py", "Queue.forgive",
        "self._has_failed = False",
        "self._has_failed = True",
    ),
    *because(
        _STAMP, CORE + "queue.py", "Queue.take",
        "flight.heap_version += 1",
        "flight.heap_version += 2",
    ),
    *because(
        "no two entries have the same serial, so the order never comes to the stamp",
        CORE + "queue.py", "Queue.take_for_probe",
        "best = min(choice, key=lambda e: (e[5].account.totp, not e[5].account.has_succeeded, e[:4]))",
        "best = min(choice, key=lambda e: (e[5].account.totp, not e[5].account.has_succeeded, e[:5]))",
    ),
    *because(
        _STAMP, CORE + "queue.py", "Queue.take_for_probe",
        "best[5].heap_version += 1",
        "best[5].heap_version += 2",
    ),
    *because(
        _STAMP, CORE + "queue.py", "Queue.drop",
        "flight.heap_version += 1",
        "flight.heap_version += 2",
    ),
    *because(
        _FALSE, CORE + "rate_limit.py", "Remaining.__init__",
        "self._insufficient = False",
        "self._insufficient = None",
    ),
    *because(
        _FALSE, CORE + "rate_limit.py", "Remaining.reset",
        "self._insufficient = False",
        "self._insufficient = None",
    ),
    *because(
        _FALSE, CORE + "rate_limit.py", "RateLimit.__init__",
        "self._is_on = False  # a pause has begun, and its end was not noticed yet",
        "self._is_on = None  # a pause has begun, and its end was not noticed yet",
    ),
    *because(
        "who has rested until now rests no more: it is forgotten at the next time",
        CORE + "rate_limit.py", "RateLimit.cool_down",
        "self._cooldowns = {key for key in self._cooldowns if key.cooldown_until > now} | {account}",
        "self._cooldowns = {key for key in self._cooldowns if key.cooldown_until >= now} | {account}",
    ),
    *because(
        "it is compared with a pair, and neither is one", CORE + "results.py", "Results.__init__",
        "self._opened_alone: tuple[Flight, int] | None = None",
        'self._opened_alone: tuple[Flight, int] | None = ""',
    ),
    *because(
        "a chance that is exactly one in a million does not occur", CORE + "results.py", "Results._judge_failure",
        "counts = failed_long or limiter.chance(breaker.fail_max) < _TRIP_CHANCE",
        "counts = failed_long or limiter.chance(breaker.fail_max) <= _TRIP_CHANCE",
    ),
    *because(
        _FALSE, CORE + "results.py", "Results._judge_probe",
        'self._transitions.open(now, f"HTTP {outcome.status}", outcome.status, grow=False)',
        'self._transitions.open(now, f"HTTP {outcome.status}", outcome.status, grow=None)',
    ),
    *because(
        _CAPPED, CORE + "results.py", "Results._refuse_code",
        "more = min(rules.totp_window * (2.0 ** min(account.code_refusals, 30) - 1.0), rules.rejection_delay_max)",
        "more = min(rules.totp_window * (2.0 ** min(account.code_refusals, 31) - 1.0), rules.rejection_delay_max)",
    ),
    *because(
        _GENERATION, CORE + "results.py", "Results._ask_again",
        "flight.last_generation = -1",
        "flight.last_generation = None",
        "flight.last_generation = -2",
    ),
    *because(
        _GENERATION, CORE + "results.py", "Results._on_local",
        "flight.last_generation = -1  # it is still to make its first attempt",
        "flight.last_generation = -2  # it is still to make its first attempt",
    ),
    *because(
        "an empty text is as false as None, and it is asked nothing else", CORE + "results.py", "Results._requeue",
        "failure: Failure | None = None",
        'failure: Failure | None = ""',
    ),
    *because(
        "it is asked only whether it is a certain token, and neither is one",
        CORE + "token.py", "TrackRecord.__init__",
        "self._proven: Token | None = None  # an API call has worked with it",
        'self._proven: Token | None = ""  # an API call has worked with it',
    ),
    *because(
        "it is asked only whether it is a certain token, and neither is one",
        CORE + "token.py", "TrackRecord.__init__",
        "self._doubted: Token | None = None  # it was refused before it ever worked",
        'self._doubted: Token | None = ""  # it was refused before it ever worked',
    ),
    *because(
        _FALSE, CORE + "token.py", "TrackRecord.__init__",
        "self.ask_anew = False  # the next token must be of an exchange: no other process's will do",
        "self.ask_anew = None  # the next token must be of an exchange: no other process's will do",
    ),
    *because(
        _FALSE, CORE + "token.py", "TrackRecord.found",
        "self.ask_anew = False",
        "self.ask_anew = None",
    ),
    *because(
        "a token that is as old as that has nothing left to wait for", CORE + "token.py", "TrackRecord.replay_in",
        "if token is self._proven or not 0.0 <= age < known_after:",
        "if token is self._proven or not 0.0 <= age <= known_after:",
    ),
    *because(
        "a pause that is exactly so short does not occur", CORE + "token.py", "TrackRecord.replay_in",
        "if (pause := share * known_after - age) > _A_MOMENT:",
        "if (pause := share * known_after - age) >= _A_MOMENT:",
    ),
    *because(
        "it is asked only whether it is a certain token, and neither is one",
        CORE + "token.py", "TrackRecord.replaced",
        "self._proven = self._doubted = None",
        'self._proven = self._doubted = ""',
    ),
    *because(
        _BEYOND, CORE + "token.py", "claims_expiry",
        "if expiry is not None and _MILLISECONDS[0] <= expiry < _MILLISECONDS[1]:",
        "if expiry is not None and _MILLISECONDS[0] <= expiry <= _MILLISECONDS[1]:",
    ),
    *because(
        _BEYOND, CORE + "token.py", "_any_number",
        "return float(value) if -_MILLISECONDS[1] < value < _MILLISECONDS[1] else None",
        "return float(value) if -_MILLISECONDS[1] <= value < _MILLISECONDS[1] else None",
        "return float(value) if -_MILLISECONDS[1] < value <= _MILLISECONDS[1] else None",
    ),
    *because(
        "before the first input nobody waits", CORE + "waiters.py", "WaitTimes.__init__",
        "self._booked = -math.inf  # up to when",
        "self._booked = +math.inf  # up to when",
    ),
    *because(
        _NOUGHT, CORE + "waiters.py", "WaitTimes.book",
        "if waiting and now > since:",
        "if waiting and now >= since:",
    ),
    *because(
        _NOUGHT, CORE + "waiters.py", "WaitTimes.until",
        "if waiting and now > self._booked:",
        "if waiting and now >= self._booked:",
    ),
    *because(
        "a set that keeps its order: nobody reads its values", CORE + "waiters.py", "Waiters.never_park",
        "self._nonblocking.setdefault(flight, {})[waiter] = waiter",
        "self._nonblocking.setdefault(flight, {})[waiter] = None",
    ),
    *because(
        "who is given a token has not failed, fast or not; and whoever fails says which",
        CORE + "waiters.py", "Waiters.finish",
        "retried: bool = False, fast: bool = False,",
        "retried: bool = False, fast: bool = True,",
    ),
    *because(
        _STAMP, CORE + "waiters.py", "Waiters._give_up_reason",
        "self.sent_away_by_pause += 1",
        "self.sent_away_by_pause -= 1",
        "self.sent_away_by_pause += 2",
    ),
    *because(
        _FALSE, DRIVER + "driver.py", "Driver.__init__",
        "self._is_stopping = False",
        "self._is_stopping = None",
    ),
    *because(
        _FALSE, DRIVER + "driver.py", "Driver.__init__",
        "self._is_forked = False",
        "self._is_forked = None",
    ),
    *because(
        _RACE, DRIVER + "driver.py", "Driver._mend",
        "self._making.pop(permit, None)",
        "self._making.pop(permit, )",
    ),
    *because(
        _RACE, DRIVER + "driver.py", "Driver._mend",
        "self._asking.pop(account, None)",
        "self._asking.pop(account, )",
    ),
    *because(
        _FALSE, DRIVER + "driver.py", "Driver._carry_out",
        "self._has_timer = False",
        "self._has_timer = None",
    ),
    *because(
        _RACE, DRIVER + "driver.py", "Driver._wake",
        "self._callers.pop(waiter, None)",
        "self._callers.pop(waiter, )",
    ),
    *because(
        "nobody is known by None", DRIVER + "driver.py", "Driver._context_of",
        "caller = self._callers.get(waiter) if waiter is not None else None",
        "caller = self._callers.get(waiter) if (waiter is not None) or True else None",
    ),
    *because(
        _FALSE, DRIVER + "driver.py", "Driver._ask",
        "if not self._asking.setdefault(account, Turn()).acquire(False):  # it was carried out before",
        "if not self._asking.setdefault(account, Turn()).acquire(None):  # it was carried out before",
    ),
    *because(
        _RACE, DRIVER + "driver.py", "Driver._ask",
        "self._asking.pop(account, None)",
        "self._asking.pop(account, )",
    ),
    *because(
        _FALSE, DRIVER + "driver.py", "Driver._make_in_turn",
        "if not permit.alive or not self._making.setdefault(permit, Turn()).acquire(False):",
        "if not permit.alive or not self._making.setdefault(permit, Turn()).acquire(None):",
    ),
    *because(
        "it looks for one more attempt to make before it goes home", DRIVER + "driver.py", "Driver._make_in_turn",
        "return False",
        "return True",
    ),
    *because(
        _RACE, DRIVER + "driver.py", "Driver._make_in_turn",
        "self._making.pop(permit, None)",
        "self._making.pop(permit, )",
    ),
    *because(
        _FALSE, DRIVER + "inbox.py", "Inbox.__init__",
        "self._was_interrupted = False",
        "self._was_interrupted = None",
    ),
    *because(
        "it is asked only whether it is a certain input, and neither is one", DRIVER + "inbox.py", "Inbox.__init__",
        "self._failed: Step | None = None  # an input that has raised once",
        'self._failed: Step | None = ""  # an input that has raised once',
    ),
    *because(
        _FALSE, DRIVER + "inbox.py", "Inbox.work_off",
        "self._is_whole = self._was_interrupted = False",
        "self._is_whole = self._was_interrupted = None",
    ),
    *because(
        "it is asked only whether it is a certain input, and neither is one", DRIVER + "inbox.py", "Inbox._blame",
        "self._failed = None",
        'self._failed = ""',
    ),
    *because(
        _FALSE, DRIVER + "wakeup.py", "_ArmedTimer.__init__",
        "self.fired = False",
        "self.fired = None",
    ),
    *because(
        "it is kept where others find it only when its timer is set", DRIVER + "wakeup.py", "_ArmedTimer.__init__",
        "self.timer: Timer | None = None",
        'self.timer: Timer | None = ""',
    ),
    *because(
        "neither is any time, and it is compared with one and nothing else", DRIVER + "wakeup.py", "WakeupTimer.arm",
        "at = math.nan",
        "at = None",
    ),
    *because(
        _RACE, DRIVER + "wakeup.py", "WakeupTimer._fire",
        "self._timers.pop(key, None)",
        "self._timers.pop(key, )",
    ),
)  # fmt: skip
