"""How long a token lives, by what the answer that brought it says (G17, G20).

Two things speak of it, and the earliest end counts: ``expires_in``, in seconds, and the JWT's own ``exp``, a moment.

=================== =================================== ==========================================================
``expires_in``      the JWT's ``exp``                   the token lives
=================== =================================== ==========================================================
a number            none, or none that can be read      as ``expires_in`` says
none, 0 or less     in the future                       as ``exp`` says
a number            in the future                       until the first of the two
a number            in the past, by both clocks         not at all: it has ended
a number            in the past, by one of two clocks   as the other one says: one of them is wrong
a number            in the past, and there is one only  as ``expires_in`` says: it may be wrong
none                in the past                         not at all
none                none                                ``TokenConfig.life``
=================== =================================== ==========================================================

``exp`` is read against the answer's ``Date``, the clock of the server; without one, against this host's. A number may
be written as a string. A number that is too large has mistaken its unit: ``exp`` in milliseconds is read as such, and
a life of more than ten years says nothing.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

MAX_LIFE = 10 * 365 * 86_400.0  # of a token, seconds
_LARGEST = 1e11  # seconds
_MILLISECONDS = (1e12, 1e14)  # unix time from 2001 to 5138
_FAR = 10.0  # times as long: such an ``expires_in`` may be in hours or minutes
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{0,15})?", re.ASCII)


def seconds_left(expires_in: object, jwt: str, server_now: float | None, wall: float) -> tuple[float | None, bool]:
    """``(seconds, cut)``: how long ``jwt`` lives, and whether its own ``exp`` says more than ten times as long.

    0 seconds or less: it has ended; ``None``: nothing says how long. ``server_now`` is the answer's ``Date`` and
    ``wall`` this host's clock, both unix time.
    """
    said = _sane(_any_number(expires_in))
    said = None if said is None or said > MAX_LIFE else said
    expiry = claims_expiry(jwt)
    if expiry is None:
        return said, False
    by_jwt = expiry - (wall if server_now is None else server_now)
    if said is None or said <= 0.0:
        return (said if by_jwt > MAX_LIFE else by_jwt), False
    if by_jwt <= 0.0:
        by_jwt = expiry - wall  # the server's clock may be the wrong one
    if by_jwt <= 0.0 and server_now is None:
        return said, False
    return min(said, by_jwt), by_jwt > _FAR * said


def claims_expiry(jwt: str) -> float | None:
    """Unix time of a JWT's ``exp``, ``None`` when it is no JWT or has none. Nothing is verified."""
    expiry = _any_number(_claims(jwt).get("exp"))
    if expiry is not None and _MILLISECONDS[0] <= expiry < _MILLISECONDS[1]:
        expiry /= 1000.0
    return _sane(expiry)


def _claims(jwt: str) -> dict[str, Any]:
    parts = jwt.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "==").decode())
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _any_number(value: object) -> float | None:
    """A number, or a string that is one; ``None`` for anything else."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_MILLISECONDS[1] < value < _MILLISECONDS[1] else None


def _sane(value: float | None) -> float | None:
    """``value``, if it can be seconds."""
    return value if value is not None and -_LARGEST < value < _LARGEST else None
