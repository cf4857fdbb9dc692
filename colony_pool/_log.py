"""What an operator reads at 3 a.m.: one line for each change of the breaker, hold and refusal.

A line is a sentence for people and ``key=value`` pairs for machines, in the words and numbers of the metrics; the
pairs are in the record's ``colony_pool`` attribute, too (``extra``). At most ``_BURST`` lines of a kind and level a
minute: a thousand keys that are refused at once are a few lines and a count, and probes that fail, which are told
at a lower level, never crowd out an opening or its recovery.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

from ._core import events as ev
from ._core.outcome import CHECK_BASE_URL

log = logging.getLogger("colony_pool")

Post = Callable[[Callable[[], object]], object]

_BURST = 10
_MINUTE = 60.0

LOGGED = (ev.StateChanged, ev.HoldStarted, ev.HoldCleared, ev.KeyDenied, ev.ServerBlamed, ev.StreakStarted)

_Line = tuple[int, str, dict[str, Any]]


class Lines:
    """Writes lines: each is made at once, with its time, and handlers are called by way of ``post``: one may hang."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def write(self, level: int, text: str, *args: object, extra: dict[str, Any] | None = None) -> None:
        """Write one line, if anybody wants lines of that level."""
        if log.isEnabledFor(level):
            record = log.makeRecord(log.name, level, __file__, 0, text, args, None, "write", extra)
            self._post(lambda: log.handle(record))

    def raised(self, words: str, error: BaseException) -> None:
        """Tell of an error that changes nothing: its class and where, not its text, which may hold a secret."""
        where = "".join(traceback.format_tb(error.__traceback__))
        self.write(logging.ERROR, "colony_pool: %s: %s\n%s", words, type(error).__name__, where)


AT_ONCE = Lines(lambda write: write())  # in the task that writes: for tasks that nobody waits for
log_raised = AT_ONCE.raised


class EventLog:
    """Writes the lines of one pool, by way of ``lines``."""

    def __init__(self, pool: str, lines: Lines) -> None:
        self._pool = pool
        self._lines = lines
        self._spent: dict[tuple[str, int], tuple[float, int]] = {}  # kind: (start of its minute, lines wanted in it)

    def lost(self, number: int) -> None:
        """Say that so many callbacks were never made. It is their queue that says it, in its own task."""
        words = "a breaker listener or a log handler is too slow: what it should have been told was dropped"
        self._write(logging.ERROR, words, {"event": "dropped", "notices": number}, AT_ONCE)

    def configured(self, words: str) -> None:
        """Say what of the configuration cannot be used, and what is done instead."""
        self._write(logging.WARNING, words, {"event": "configuration"}, self._lines)

    def note(self, event: ev.Event, now: float) -> None:
        """Write the line of ``event``, if it is one of ``LOGGED``; ``now`` is monotonic seconds."""
        if not isinstance(event, LOGGED):
            return
        line = _line(event)
        if log.isEnabledFor(line[0]):
            level, words, facts = line
            suppressed = self._suppressed((facts["event"], level), now)
            if suppressed >= 0:
                self._write(level, words, facts | ({"suppressed": suppressed} if suppressed else {}), self._lines)

    def _suppressed(self, kind: tuple[str, int], now: float) -> int:
        """How many lines of this kind were left out before this one; -1 when this one is left out, too."""
        start, wanted = self._spent.get(kind, (now, 0))
        if now >= start + _MINUTE:
            self._spent[kind] = (now, 1)
            return max(0, wanted - _BURST)
        self._spent[kind] = (start, wanted + 1)
        return 0 if wanted < _BURST else -1

    def _write(self, level: int, words: str, facts: dict[str, Any], lines: Lines) -> None:
        facts = {"pool": self._pool, **facts}
        pairs = " ".join(f"{name}={_value(value)}" for name, value in facts.items())
        lines.write(level, "colony_pool %s: %s [%s]", self._pool, words, pairs, extra={"colony_pool": facts})


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return f'"{text}"' if " " in text or not text else text


def _line(event: ev.Event) -> _Line:
    if isinstance(event, ev.StateChanged):
        return _breaker_line(event)
    if isinstance(event, ev.ServerBlamed):
        words = f"the server refuses {event.keys} keys that worked a minute ago: it is taken for down, no key rests"
        return logging.WARNING, words, {"event": "server_fault", "keys": event.keys}
    if isinstance(event, ev.StreakStarted):
        return _streak_line(event)
    if isinstance(event, ev.HoldStarted):
        words = f"on hold for {event.seconds:.0f} s ({event.cause}): nothing is sent to /auth/token until then"
        facts = {"event": "hold", "seconds": event.seconds, "cause": event.cause, "waiters": event.waiters}
        return logging.WARNING, f"{words}; {_calls(event.waiters, 'waits', 'wait')}, valid tokens are served", facts
    if isinstance(event, ev.HoldCleared):
        return _cleared_line(event)
    assert isinstance(event, ev.KeyDenied)  # noqa: S101 - the last of LOGGED
    facts = {"event": "denied", "status": event.status, "code": event.code or "", "seconds": event.seconds}
    return logging.WARNING, _refused(event), facts


def _cleared_line(event: ev.HoldCleared) -> _Line:
    by = "through the record that it shares" if event.learnt else "in this process"
    cause = event.cause or "one key was held after a refusal"
    words = f"an operator, {by}, has ended a hold {event.seconds:.0f} s before its time ({cause})"
    facts = {"event": "hold_cleared", "seconds": event.seconds, "cause": cause, "waiters": event.waiters}
    facts["learnt"] = event.learnt
    return logging.WARNING, f"{words}; the next attempt is one, {_calls(event.waiters, 'waits', 'wait')}", facts


def _refused(event: ev.KeyDenied) -> str:
    """Who was refused. No healthy key is blamed: its reader might rotate it."""
    said = f"HTTP {event.status} {event.code or ''}".rstrip()
    rests = f"rests {event.seconds:.0f} s"
    if event.code_only:
        return f"the one-time code of one agent was refused ({said}): its key is fine and {rests}"
    if event.code == "AUTH_2FA_REQUIRED":
        return f"one agent gave no one-time code and needs one ({said}): pass totp=; its key is fine and {rests}"
    if event.status in (404, 405):
        return f"there is nothing at /auth/token ({said}): check base_url; the key that asked is fine and {rests}"
    return f"one key was refused ({said}) and {rests}; no other is affected"


def _hint(known_good: bool) -> str:
    return "" if known_good else f"; {CHECK_BASE_URL}"


def _streak_line(event: ev.StreakStarted) -> _Line:
    facts: dict[str, Any] = {"event": "failing", "cause": event.cause, "waiters": event.waiters}
    words = f"/auth/token fails ({event.cause}); "
    if event.next_in is None:
        words += "its calls are told at once"
    else:
        facts["next_attempt_seconds"] = event.next_in
        words += f"{_calls(event.waiters, 'waits', 'wait')}, next attempt in {event.next_in:.1f} s"
    return logging.WARNING, words + _hint(event.known_good), facts


def _calls(count: int, one: str, many: str) -> str:
    return f"1 call {one}" if count == 1 else f"{count} calls {many}"


def _what_is_down(event: ev.StateChanged) -> str:
    return f"{'calls that the breaker guards fail' if event.guarded else '/auth/token is down'} ({event.cause})"


def _breaker_line(event: ev.StateChanged) -> _Line:
    facts: dict[str, Any] = {"event": "breaker", "from_state": event.old, "to_state": event.new}
    facts |= {"cause": event.cause, "waiters": event.waiters}
    if event.new == ev.CLOSED:
        facts["seconds_open"] = event.since_open
        how = "closed by an operator" if event.by_operator else "recovered"
        leave = _calls(event.waiters, "leaves", "leave")
        words = f"{how} after {event.since_open:.0f} s; {leave} at the pace the server bears"
        return logging.WARNING, words, facts
    wait = _calls(event.waiters, "waits", "wait")
    if event.new == ev.HALF_OPEN:
        return logging.DEBUG, f"one probe leaves; {wait}", facts
    facts["next_probe_seconds"] = event.next_probe_in
    if event.old == ev.CLOSED:
        how = "opened by an operator" if event.by_operator else f"{_what_is_down(event)}, breaker open"
        words = f"{how}; first probe in {event.next_probe_in:.1f} s"
        return logging.WARNING, f"{words}; {wait}, valid tokens are served{_hint(event.known_good)}", facts
    facts["seconds_open"] = event.since_open
    words = f"still down ({event.cause}) after {event.since_open:.0f} s; next probe in {event.next_probe_in:.1f} s"
    return logging.INFO, f"{words}; {wait}{_hint(event.known_good)}", facts
