"""The mutants that may survive, each with its reason. Matched by words, not by number or line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CORE = "colony_pool/_core/"
RUNNER = "colony_pool/_driver/driver.py"


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


_STRICT = "a guard against our own mistakes: a histogram always has one count more than bounds"
_CAPPED = "2 ** 60 seconds is longer than any cap already; the bound keeps a float from overflowing"
_FALSE = "None is as false as False, and it is asked nothing else"
_SERIAL = "it only tells permits of one deadline apart"
_NOUGHT = "no time has passed: nought is added"
_STAMP = "an entry is dead when the stamp differs, by however much"
_NO_WALL = "the wall clock is asked only about a token, and here it cannot be: "
_CUMULATIVE = 'for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):'

SURVIVORS: tuple[Survivor, ...] = (
    *because(
        _STRICT, CORE + "journal.py", "Histogram.cumulative", _CUMULATIVE,
        _CUMULATIVE.replace("strict=True", "strict=None"),
        _CUMULATIVE.replace("strict=True", ""),
        _CUMULATIVE.replace("strict=True", "strict=False"),
    ),
    *because(
        _NOUGHT, CORE + "settle.py", "Settlement.waited_at",
        "if self.waiting and now > self._seen:", "if self.waiting and now >= self._seen:",
    ),
    *because(
        _NOUGHT, CORE + "settle.py", "Settlement._enter",
        "if self.waiting and now > since:", "if self.waiting and now >= since:",
    ),
    *because(
        "it is read during a hold, and whatever begins a hold sets it", CORE + "settle.py", "Settlement.__init__",
        'self.hold_cause = ""', "self.hold_cause = None", 'self.hold_cause = "XXXX"',
    ),
    *because(
        "the first call tells the wall clock, and before it there is no token to ask about", CORE + "settle.py",
        "Settlement.__init__", "self._wall = 0.0", "self._wall = None", "self._wall = 1.0",
    ),
    *because(
        "before the desk first looks nobody waits and nothing is blocked", CORE + "settle.py", "Settlement.__init__",
        "self._seen = -math.inf  # when the desk last looked", "self._seen = +math.inf  # when the desk last looked",
    ),
    *because(
        _NO_WALL + "a key that is held goes to those who sleep", CORE + "verdict.py", "Verdicts._hold_key",
        "self.queue.put(flight, now, self._wall)", "self.queue.put(flight, now, None)",
    ),
    *because(
        _NO_WALL + "who comes back rests first", CORE + "verdict.py", "Verdicts._requeue",
        "self.queue.put(flight, now, self._wall)", "self.queue.put(flight, now, None)",
    ),
    *because(
        _NO_WALL + "nobody waits for a refresh, so it is last anyway", CORE + "dispatch.py", "Dispatcher._background",
        "self.queue.put(flight, now, self._wall)", "self.queue.put(flight, now, None)",
    ),
    *because(_FALSE, CORE + "pace.py", "ConcurrencyLimiter.__init__", "self._timed = False", "self._timed = None"),
    *because(_FALSE, RUNNER, "Driver.__init__", "self._stopping = False", "self._stopping = None"),
    *because(_FALSE, RUNNER, "Driver.__init__", "self._disowned = False", "self._disowned = None"),
    *because(
        _CAPPED, CORE + "denial.py", "DenialCache.deny",
        "delay = min(self._config.delay * 2.0 ** min(times - 1, 60), self._config.rejection_delay_max)",
        "delay = min(self._config.delay * 2.0 ** min(times - 1, 61), self._config.rejection_delay_max)",
    ),
    *because(
        _CAPPED, CORE + "circuit.py", "CircuitBreaker.open",
        "delay = min(self._config.open_delay * 2.0 ** min(self.level, 60), self._config.open_delay_max)",
        "delay = min(self._config.open_delay * 2.0 ** min(self.level, 61), self._config.open_delay_max)",
    ),
    *because(
        "2 ** 30 of the shortest leases are twelve days already; the bound keeps a float from overflowing",
        CORE + "admit.py", "Admission._probe",
        "timeout = self.config.probe_timeout * 2.0 ** min(self.circuit.lost_probes, 30)",
        "timeout = self.config.probe_timeout * 2.0 ** min(self.circuit.lost_probes, 31)",
    ),
    *because(
        "a hold that ends now sends away whose patience ends by now, and they leave by now anyway",
        CORE + "dispatch.py", "Dispatcher._unreachable", "if self.hold_until > now:", "if self.hold_until >= now:",
    ),
    *because(_SERIAL, CORE + "admit.py", "Admission.__init__", "self._started = 0", "self._started = 1"),
    *because(
        _SERIAL, CORE + "admit.py", "Admission._start",
        "self._started += 1", "self._started -= 1", "self._started += 2",
    ),
    *because(_FALSE, CORE + "dispatch.py", "Dispatcher.__init__", "self._closed = False", "self._closed = None"),
    *because(_FALSE, CORE + "admit.py", "Admission.__init__", "self._holding = False", "self._holding = None"),
    *because(
        "it is asked only whether it is a certain flight, and neither is one", CORE + "admit.py",
        "Admission.__init__", "self._without_budget: Flight | None = None  # whose retry the budget refused last",
        'self._without_budget: Flight | None = ""  # whose retry the budget refused last',
    ),
    *because(
        "a set that keeps its order: nobody reads its values", CORE + "dispatch.py", "Dispatcher._join",
        "self.waiters._nonblocking.setdefault(flight.serial, {})[waiter] = waiter",
        "self.waiters._nonblocking.setdefault(flight.serial, {})[waiter] = None",
    ),
    *because(
        "a chance that is exactly one in a million does not occur", CORE + "verdict.py", "Verdicts._judge",
        "quiet = now - self.luck.last_success >= breaker.quiet or window.chance(breaker.fail_max) < _TRIP_CHANCE",
        "quiet = now - self.luck.last_success >= breaker.quiet or window.chance(breaker.fail_max) <= _TRIP_CHANCE",
    ),
    *because(
        _FALSE, CORE + "verdict.py", "Verdicts._judge_probe",
        'self._open_circuit(now, "HTTP 429", 429, grow=False)', 'self._open_circuit(now, "HTTP 429", 429, grow=None)',
    ),
    *because(
        "an empty text is as false as None, and it is asked nothing else", CORE + "verdict.py", "Verdicts._requeue",
        "failure: Failure | None = None", 'failure: Failure | None = ""',
    ),
    *because(
        "no generation of a breaker is below 0", CORE + "verdict.py", "Verdicts._conclude_local",
        "flight.last_generation = -1  # it is still to make its first attempt",
        "flight.last_generation = -2  # it is still to make its first attempt",
    ),
    *because(
        "no generation of a breaker is below 0", CORE + "account.py", "Flight.__init__",
        "self.last_generation = -1  # the breaker's generation in which it was tried last",
        "self.last_generation = -2  # the breaker's generation in which it was tried last",
    ),
    *because(
        "neither is any time, and it is compared with one and nothing else", "colony_pool/_driver/wakeup.py",
        "WakeupTimer.arm", "at = math.nan", "at = None",
    ),
    *because(
        "a chance that is exactly one in ten thousand does not occur", CORE + "pace.py", "ConcurrencyLimiter.failed",
        "if not shed and self.chance(self._streak) < _DOWN_CHANCE:",
        "if not shed and self.chance(self._streak) <= _DOWN_CHANCE:",
    ),
    *because(
        "who is given a token has not failed, fast or not; and whoever fails says which", CORE + "settle.py",
        "Settlement._finish",
        "retried: bool = False, fast: bool = False,", "retried: bool = False, fast: bool = True,",
    ),
    *because(
        "None is as empty, and the second caller brings a heap of its own", CORE + "account.py", "Flight.__init__",
        "self._heap = _NO_HEAP  # by deadline; a lone waiter needs none",
        "self._heap = None  # by deadline; a lone waiter needs none",
    ),
    *because(
        "it differs from both, so that what is in order is ordered once more", CORE + "queue.py", "Queue.__init__",
        "self._by_hunger = False", "self._by_hunger = None",
    ),
    *because(_FALSE, CORE + "quota.py", "Remaining.__init__", "self._short = False", "self._short = None"),
    *because(_FALSE, CORE + "quota.py", "Remaining.sufficed", "self._short = False", "self._short = None"),
    *because(
        "it is put where it is already", CORE + "dispatch.py", "Dispatcher._join",
        "if not flight.has_no_waiters and (was_background or flight.deadline() < before):",
        "if not flight.has_no_waiters and (was_background or flight.deadline() <= before):",
    ),
    *because(_STAMP, CORE + "queue.py", "Queue.take", "flight.heap_version += 1", "flight.heap_version += 2"),
    *because(
        _STAMP,
        CORE + "queue.py",
        "Queue.take_for_probe",
        "best[5].heap_version += 1",
        "best[5].heap_version += 2",
    ),
    *because(_STAMP, CORE + "queue.py", "Queue.drop", "flight.heap_version += 1", "flight.heap_version += 2"),
    *because(_STAMP, CORE + "queue.py", "Queue.put", "flight.heap_version += 1", "flight.heap_version += 2"),
    *because(
        "no two entries have the same serial, so the order never comes to the stamp", CORE + "queue.py",
        "Queue.take_for_probe",
        "best = min(choice, key=lambda e: (e[5].account.totp, not e[5].account.has_succeeded, e[:4]))",
        "best = min(choice, key=lambda e: (e[5].account.totp, not e[5].account.has_succeeded, e[:5]))",
    ),
    *because(
        "a filler: the heap of deadlines has entries of the same shape as that of sleepers", CORE + "queue.py",
        "Queue.watch", "heappush(self._expiry, (deadline, flight.serial, 0, flight))",
        "heappush(self._expiry, (deadline, flight.serial, 1, flight))",
    ),
    *because(
        "a hold of no seconds is none", CORE + "fleet.py", "Sharing._learn",
        "if view.hold_for > 0.0:", "if view.hold_for >= 0.0:",
    ),
    *because(
        "who leaves in the moment in which its membership ends is out of it anyway",
        CORE + "fleet.py", "Sharing._look",
        "if not self.live and fleet.joined_until > now:", "if not self.live and fleet.joined_until >= now:",
    ),
    *because(_FALSE, CORE + "fleet.py", "Sharing._decide_alone", "fleet.looking = False", "fleet.looking = None"),
    *because(_FALSE, CORE + "members.py", "Fleet.__init__", "self.looking = False", "self.looking = None"),
    *because(
        _FALSE, CORE + "members.py", "Fleet.__init__",
        "self.unheard = False  # the store refuses, since it has not heard that the breaker is open",
        "self.unheard = None  # the store refuses, since it has not heard that the breaker is open",
    ),
    *because(
        _FALSE, CORE + "members.py", "Fleet.__init__",
        "self.on_fallback = False  # the store has failed, and it is its fallback that answers",
        "self.on_fallback = None  # the store has failed, and it is its fallback that answers",
    ),
    *because(_FALSE, CORE + "members.py", "Fleet.move", "self.unheard = False", "self.unheard = None"),
    *because(
        "it is written when the fallback takes over, before it is read when the store is back",
        CORE + "members.py", "Fleet.__init__",
        "self._left = 0  # the generation of the store's record when the fallback's took its place",
        "self._left = None  # the generation of the store's record when the fallback's took its place",
        "self._left = 1  # the generation of the store's record when the fallback's took its place",
    ),
    *because(
        _FALSE, CORE + "denial.py", "DenialCache.learn",
        "account.denial = SharedDenial(now + told.seconds, told.times, failure, code_only=False)",
        "account.denial = SharedDenial(now + told.seconds, told.times, failure, code_only=None)",
    ),
    *because(
        "0.1 s doubled ten times is longer than the cap already; the bound keeps a float from overflowing",
        CORE + "verdict.py", "Verdicts._conclude_elsewhere",
        "flight.not_before = now + min(_PUT_OFF * 2.0 ** min(flight.deferrals, 10), _PUT_OFF_MAX) * (",
        "flight.not_before = now + min(_PUT_OFF * 2.0 ** min(flight.deferrals, 11), _PUT_OFF_MAX) * (",
    ),
    *because(
        _NO_WALL + "who comes back rests first", CORE + "verdict.py", "Verdicts._conclude_elsewhere",
        "self.queue.put(flight, now, self._wall)", "self.queue.put(flight, now, None)",
    ),
    *because(
        "nobody uses what a runner without a store returns", RUNNER, "Driver.__init__",
        "self.carry: Callable[[act.ForStore], object] = lambda action: None  # to the store that processes share",
        "self.carry: Callable[[act.ForStore], object] = lambda action: 0  # to the store that processes share",
    ),
)  # fmt: skip
