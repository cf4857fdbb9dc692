"""What the headers of an answer say about time, read in one place for tokens and for API calls (G13).

========================================================  ==========================================================
header                                                    what it tells
========================================================  ==========================================================
``Retry-After``, ``X-Retry-After``                        do not come back before
``retry-after-ms``, ``x-ms-retry-after-ms``               the same in milliseconds
``X-RateLimit-*``, ``RateLimit-*``, ``X-Rate-Limit-*``    ``Remaining`` requests, and when the count begins anew:
                                                          ``Reset`` or ``Reset-After``
``RateLimit: "default";r=50;t=30``                        the same, of any number of limits (the IETF's draft)
``RateLimit: limit=100, remaining=50, reset=30``          the same, as older drafts had it
``RateLimit-Policy: "default";q=100;w=60``                the window of a limit that does not say when it begins anew
========================================================  ==========================================================

A time is written in one of four ways, and its size tells which: 0 to 31,536,000 is seconds from now; a number within
ten years of now is unix seconds; a thousand times that is unix milliseconds; the fourth is an HTTP date. Anything
else has said nothing. *Now* is the answer's own ``Date``, since the clock of this host may be wrong, and this host's
clock where there is none or a time makes no sense by it.

A header that came several times, or was joined with commas on its way, says the longest of its times and the least
of its counts: to wait too long costs less than to be counted once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_tz

# The three forms of RFC 9110 5.6.7. Elsewhere ``email`` would take much for a date, digits of other scripts, too.
_ZONE = r"(GMT|UTC|UT|Z|[+-]\d{4})"
_CLOCK = r"\d{2}:\d{2}:\d{2}"
_DATE = re.compile(
    rf"[a-z]{{3}}, \d{{1,2}} [a-z]{{3}} \d{{4}} {_CLOCK} {_ZONE}"
    rf"|[a-z]{{6,9}}, \d{{2}}-[a-z]{{3}}-\d{{2}} {_CLOCK} {_ZONE}"
    rf"|[a-z]{{3}} [a-z]{{3}} [ \d]\d {_CLOCK} \d{{4}}",
    re.ASCII | re.IGNORECASE,
)


_YEAR = 31_536_000.0
_TEN_YEARS = 10 * _YEAR
_SET = 1e9  # 2001: a clock that says less was never set
_TEXT = 1000  # characters; a longer header says nothing
_NUMBER = re.compile(r"\d{1,16}(\.\d{1,20})?", re.ASCII)
_RETRY_AFTER = {"retry-after": 1.0, "x-retry-after": 1.0, "retry-after-ms": 1e3, "x-ms-retry-after-ms": 1e3}
_FAMILIES = ("x-ratelimit-", "ratelimit-", "x-rate-limit-")
# Some middleware puts Retry-After on each answer: the moment at which the count begins anew, give or take a rounding.
_ROUNDING = 2.0


@dataclass(frozen=True, slots=True)
class Limit:
    """One rate limit: requests that remain, seconds until it counts anew. ``None``: not told."""

    remaining: int | None
    reset: float | None


@dataclass(frozen=True, slots=True)
class LimitHeaders:
    """What one answer says about time."""

    retry_after: float | None = None
    limits: tuple[Limit, ...] = ()

    @property
    def exhausted(self) -> bool:
        """A limit has no request left."""
        return bool(self._used_up)

    @property
    def asked(self) -> float | None:
        """``retry_after``, unless it only repeats when a limit counts anew that has requests left."""
        after = self.retry_after
        if after is None or self.exhausted:
            return after
        resets = [limit.reset for limit in self.limits if limit.remaining and limit.reset is not None]
        return None if any(abs(reset - after) <= _ROUNDING for reset in resets) else after

    @property
    def pause(self) -> float | None:
        """Seconds until a request can be served, for an answer that refused one for the rate limit."""
        if self.retry_after is not None:
            return self.retry_after
        silent = [limit for limit in self.limits if limit.remaining is None]
        return _longest(limit.reset for limit in self._used_up or silent or self.limits)

    @property
    def exhausted_for(self) -> float | None:
        """Seconds for which no request is left, for an answer that was served."""
        reset = _longest(limit.reset for limit in self._used_up)
        if reset is not None:
            return reset
        left = any(limit.remaining for limit in self.limits) and not self.exhausted
        return None if left else self.retry_after

    @property
    def left(self) -> tuple[int, float] | None:
        """``(requests, seconds)`` of the limit that leaves the fewest."""
        known = [(limit.remaining, limit.reset) for limit in self.limits if limit.remaining and limit.reset]
        return None if self.exhausted else min(known, default=None)

    @property
    def _used_up(self) -> list[Limit]:
        return [limit for limit in self.limits if limit.remaining == 0]


_NOTHING = LimitHeaders()


def read(headers: Mapping[str, str], wall: float) -> LimitHeaders:
    """Read what ``headers`` (names in lower case) say; ``wall`` is unix time by this host's clock."""
    if not any(map(tells_time, headers)):  # as a rule
        return _NOTHING
    clocks = [clock for clock in (_date(headers), wall) if clock is not None and clock >= _SET]
    after = _longest(_time(headers.get(name), clocks, unit) for name, unit in _RETRY_AFTER.items())
    return LimitHeaders(after, (*_families(headers, clocks), *_draft(headers, clocks)))


def tells_time(name: str) -> bool:
    """Whether the values of this header (lower case) are to be joined if it comes several times."""
    return "retry-after" in name or "ratelimit" in name or "rate-limit" in name


def _date(headers: Mapping[str, str]) -> float | None:
    return next((moment for item in _items(headers.get("date")) if (moment := http_date(item)) is not None), None)


def _families(headers: Mapping[str, str], clocks: list[float]) -> Iterator[Limit]:
    """Limits told by a header for each of their numbers."""
    windows = list(_windows(headers).values())
    for family in _FAMILIES:
        counts = [_count(item) for item in _items(headers.get(f"{family}remaining"))]
        resets = [_moment(item, clocks, 1.0) for item in _items(headers.get(f"{family}reset"))]
        resets += [_moment(item, clocks, 1.0) for item in _items(headers.get(f"{family}reset-after"))]
        if len(counts) == len(resets):  # of as many limits
            yield from (Limit(*pair) for pair in zip(counts, resets, strict=True) if pair != (None, None))
            continue
        remaining = min((count for count in counts if count is not None), default=None)
        reset = _longest(resets)
        if reset is None and family == "ratelimit-" and len(windows) == 1:
            reset = windows[0]
        if (remaining, reset) != (None, None):
            yield Limit(remaining, reset)


def _draft(headers: Mapping[str, str], clocks: list[float]) -> Iterator[Limit]:
    """Limits told by the draft's ``RateLimit``."""
    windows = _windows(headers)
    older: dict[str, str] = {}
    for name, parameters in _members(headers.get("ratelimit")):
        if name is None:
            older |= parameters
            continue
        reset = _time(parameters.get("t"), clocks)
        limit = Limit(_count(parameters.get("r")), windows.get(name) if reset is None else reset)
        if limit.remaining is not None or reset is not None:
            yield limit
    limit = Limit(_count(older.get("remaining")), _time(older.get("reset"), clocks))
    if limit != Limit(None, None):
        yield limit


def _windows(headers: Mapping[str, str]) -> dict[str | None, float]:
    """The windows of ``RateLimit-Policy``, seconds, by name."""
    windows = {name: _time(parameters.get("w"), []) for name, parameters in _members(headers.get("ratelimit-policy"))}
    return {name: window for name, window in windows.items() if window is not None}


def _members(text: str | None) -> Iterator[tuple[str | None, dict[str, str]]]:
    """Members of a structured field's list (RFC 9651): name and parameters; no name where there are only those."""
    if text is None or len(text) > _TEXT:
        return
    for member in _split(text, ","):
        first, *rest = _split(member, ";")
        named = first.startswith('"') or "=" not in first
        pairs = [part.partition("=") for part in (rest if named else [first, *rest])]
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        yield (first.strip('"') if named else None), parameters


def _split(text: str, mark: str) -> list[str]:
    """Split ``text`` at each ``mark`` that is not within quotes."""
    parts, quoted = [""], False
    for letter in text:
        quoted ^= letter == '"'
        if letter == mark and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _items(text: str | None) -> Iterator[str]:
    """The values that a header's text joins with commas. A date has a comma of its own, after the day's name."""
    if text is None or len(text) > _TEXT:
        return
    day = ""
    for part in text.split(","):
        if part.strip().isalpha():
            day = f"{part.strip()}, "
            continue
        yield day + part.strip()
        day = ""


def _count(text: str | None) -> int | None:
    """A number of requests."""
    return int(float(text)) if text is not None and _NUMBER.fullmatch(text.strip()) else None


def _time(text: str | None, clocks: list[float], unit: float = 1.0) -> float | None:
    """The longest time that a header tells, seconds from now; ``unit``: its numbers are so many to a second."""
    return _longest(_moment(item, clocks, unit) for item in _items(text))


def _moment(text: str, clocks: list[float], unit: float) -> float | None:
    """Seconds from now, ``None`` if ``text`` has said nothing."""
    if not _NUMBER.fullmatch(text):
        date = http_date(text)
        return None if date is None else _until((date,), clocks)
    value = float(text) / unit
    return value if value <= _YEAR else _until((value, value / 1e3), clocks)


def _until(moments: tuple[float, ...], clocks: list[float]) -> float | None:
    """Seconds until the first of ``moments`` (unix time) that is within ten years of a clock."""
    for moment in moments:
        for clock in clocks:
            if abs(moment - clock) <= _TEN_YEARS:
                return max(0.0, moment - clock)
    return None


def _longest(times: Iterator[float | None] | list[float | None]) -> float | None:
    return max((seconds for seconds in times if seconds is not None), default=None)


def http_date(text: str | None) -> float | None:
    """Unix time of an HTTP date, ``None`` when it is none."""
    if not text or not _DATE.fullmatch(text.strip()):
        return None
    parts = parsedate_tz(text)
    if parts is None:
        return None
    try:
        # A leap second is a second like the one before.
        moment = datetime(*parts[:5], min(parts[5], 59), tzinfo=timezone.utc)
    except ValueError:
        return None
    return moment.timestamp() - (parts[9] or 0)
