"""Delays: the jittered backoff, and the dates of HTTP. What headers say about time is read in ``headers.py``."""

from __future__ import annotations

import re
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


def jittered(delay: float, jitter: float, rand: float) -> float:
    """``delay`` less up to ``jitter`` (0..1) of itself; ``rand`` in [0, 1) says how much."""
    return delay * (1.0 - jitter * rand)


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
