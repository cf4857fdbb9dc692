"""What the simulated endpoint says, beside what it means by it.

The meaning is written down where the answer is made, and never read back from its headers: the library has to find
it there, and its reading is what is tested.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random

OK, DOWN, NETWORK, FAULT, THROTTLED, DENIED = "ok", "down", "network", "fault", "throttled", "denied"
BAD = (DOWN, NETWORK, FAULT)
# Shapes of Retry-After; those of the second row say nothing.
SENSIBLE = ("seconds", "date", "date alone", "fraction", "zero", "a day", "twice", "unix", "milliseconds")
SENSELESS = ("absent", "words", "negative", "exponent", "empty", "huge")
SHAPES = SENSIBLE + SENSELESS


@dataclass(frozen=True, slots=True)
class Wish:
    """How long a server asks to be left alone: so many seconds, or (``until``) up to a moment of unix time."""

    seconds: float | None = None
    until: float | None = None

    def from_now(self, wall: float) -> float | None:
        """In seconds, for a client whose clock shows ``wall``; ``None`` when nothing was asked."""
        return self.seconds if self.until is None else max(0.0, self.until - wall)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, ``delay`` seconds after the question. ``means`` is its class, by the table of G11."""

    means: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.05
    wish: Wish = Wish()
    used_up_for: float | None = None  # no request left before so many seconds have passed
    deaf: bool = False  # hears neither a cancel nor its own timeout
    sent: bool = True  # the question reached the server
    breaks: bool = False  # the body breaks off
    jwt: str = ""
    life: float = 0.0  # of the token, seconds
    code: str = ""


SILENCE = Answer(NETWORK)


def retry_after(shape: str, dice: Random, server_wall: float) -> tuple[dict[str, str], Wish]:
    """A ``Retry-After`` of one shape, and its meaning."""
    seconds = dice.choice([1, 2, 5, 20, 45, 70])
    moment = int(server_wall) + seconds
    date = {"retry-after": formatdate(moment, usegmt=True)}
    texts = {"fraction": "2.5", "zero": "0", "a day": "86400", "huge": "9" * 16, "words": "a while",
             "negative": "-5", "exponent": "1e3", "empty": "", "twice": "20, 20", "unix": str(moment),
             "milliseconds": str(moment * 1000)}  # fmt: skip
    wishes = {"fraction": Wish(2.5), "zero": Wish(0.0), "a day": Wish(86_400.0), "twice": Wish(20.0),
              "unix": Wish(until=float(moment)), "milliseconds": Wish(until=float(moment))}  # fmt: skip
    if shape == "seconds":
        return {"retry-after": str(seconds)}, Wish(float(seconds))
    if shape == "date":
        return date | {"date": formatdate(server_wall, usegmt=True)}, Wish(float(moment - int(server_wall)))
    if shape == "date alone":
        return date, Wish(until=float(moment))
    if shape == "absent":
        return {}, Wish()
    return {"retry-after": texts[shape]}, wishes.get(shape, Wish())


def token(key: int, serial: int, life: float, how: str, server_wall: float, delay: float) -> Answer:
    """A good answer. Every field of its token holds the same number, so that a torn one shows."""
    if how == "exp":
        # A client's own clock may be wrong by hours: what counts is the server's, and that tells whole seconds.
        date = {"date": formatdate(server_wall, usegmt=True)}
        claims = json.dumps({"sub": key, "n": serial, "exp": server_wall + life}).encode()
        jwt = f"k{key}n{serial}.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.n{serial}"
        body = {"access_token": jwt, "token_type": "bearer"}
        left = server_wall + life - int(server_wall)
        return Answer(OK, 200, date, _json(body), delay, jwt=jwt, life=left)
    jwt = f"k{key}n{serial}-n{serial}-n{serial}"
    fields = {"access_token": jwt, "token_type": "bearer", "expires_in": life}
    return Answer(OK, 200, {}, _json(fields), delay, jwt=jwt, life=life)


def broken(dice: Random, delay: float) -> Answer:
    """A 2xx or 3xx that is none: down, whatever its status says."""
    if dice.random() < 0.1:
        return Answer(DOWN, 200, {}, b"", delay, breaks=True)
    status, headers, body = dice.choice([
        (200, {"content-type": "text/html"}, b"<html>Welcome</html>"),
        (200, {}, b'{"access_token": ""}'),
        (200, {}, b'{"access_token": "a b", "expires_in": 60}'),
        (200, {}, b'{"access_token": "late", "expires_in": 0}'),
        (200, {}, b"\xff\xfe\x00"),
        (204, {}, b""),
        (302, {"location": "https://elsewhere.example/"}, b""),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, b"[]"),
    ])  # fmt: skip
    return Answer(DOWN, int(status), dict(headers), bytes(body), delay)


def refusal(status: int, delay: float, code: str = "") -> Answer:
    """One key, or its one-time code, is refused."""
    detail = {"message": "no", "code": code} if code else "no"
    return Answer(DENIED, status, {}, _json({"detail": detail}), delay, code=code)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
