"""Delays: the jittered backoff and what ``Retry-After`` and the rate-limit headers ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

# Longer than any real limit and still a finite float: what a server may ask for at most.
_LONGEST = 10 * 365 * 86_400.0
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,6})?", re.ASCII)
# An X-RateLimit-Reset above this is a unix time (2001 and later), below it is seconds from now.
_EPOCH = 1e9


def jittered(delay: float, jitter: float, rand: float) -> float:
    """``delay`` less up to ``jitter`` (0..1) of itself; ``rand`` in [0, 1) says how much."""
    return delay * (1.0 - jitter * rand)


def http_date(text: str | None) -> float | None:
    """Unix time of an HTTP date, ``None`` when it is none."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Seconds that ``Retry-After`` asks for (a number or an HTTP date), ``None`` when it says nothing sane.

    A date is read against the server's own ``Date`` if there is one: the two clocks may differ.
    """
    text = (headers.get("retry-after") or "").strip()
    if _NUMBER.fullmatch(text):
        return min(float(text), _LONGEST)
    moment = http_date(text)
    if moment is None:
        return None
    server_now = http_date(headers.get("date"))
    return min(max(0.0, moment - (wall if server_now is None else server_now)), _LONGEST)


def rate_limit(headers: Mapping[str, str], wall: float) -> tuple[int | None, float | None]:
    """``(remaining, seconds until reset)`` of the ``X-RateLimit-*`` headers; ``None`` where not told."""
    left = (headers.get("x-ratelimit-remaining") or "").strip()
    reset = (headers.get("x-ratelimit-reset") or "").strip()
    remaining = int(left) if left.isascii() and left.isdigit() and len(left) < 16 else None
    if not _NUMBER.fullmatch(reset):
        return remaining, None
    seconds = float(reset)
    if seconds >= _EPOCH:
        server_now = http_date(headers.get("date"))
        seconds = max(0.0, seconds - (wall if server_now is None else server_now))
    return remaining, min(seconds, _LONGEST)
