"""An API key and its second factor: the only object that holds them, and it shows neither."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable

from .._core.account import Account
from .._http.connection_health import LastFailure


class AgentState:
    """What all handles on one key share.

    Arguments:
        handle: what users hold. It is kept alive while the key has a token.
    """

    __slots__ = (
        "__weakref__",
        "account",
        "credential",
        "disk_checked_at",
        "fresh_until",
        "handle",
        "jwt",
        "last_failure",
    )

    def __init__(self, credential: Credential, handle: object) -> None:
        self.credential = credential
        self.handle = handle
        self.account = Account(owner=self, jitter_hash=credential.jitter_hash, totp=credential.totp is not None)
        self.jwt = ""  # the token that callers get at once, until ``fresh_until`` (monotonic)
        self.fresh_until = -math.inf
        self.last_failure = LastFailure()
        self.disk_checked_at = -math.inf  # when the cache on disk was read last, monotonic

    def serve(self, jwt: str, until: float) -> None:
        """Give callers ``jwt`` at once, until then."""
        self.jwt = jwt
        self.fresh_until = until

    def expire(self) -> None:
        """Have callers look for a token."""
        self.fresh_until = -math.inf


_KEY = re.compile(r"col_[\x21-\x7e]{1,508}")
_CODE = re.compile(r"[0-9]{6,8}|[A-Za-z0-9]{10,16}")
_SPENT_FOR = 300.0  # seconds for which a code is remembered: far beyond any window in which it could work again

Totp = str | Callable[[], str] | None


class CodeSpent(Exception):
    """The code at hand was sent before."""


class Credential:
    """What an attempt needs. ``totp`` is a callable asked once per attempt, or a code good for one attempt."""

    __slots__ = ("_at_hand", "_spent", "key", "totp")

    def __init__(self, key: str, totp: Totp = None) -> None:
        problem = _totp_problem(totp)
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            problem = ValueError(
                "api_key: must be a string that starts with 'col_', without spaces or control characters"
            )
        if problem is not None:
            del key, totp  # no traceback of ours holds a secret
            raise problem
        self.key = key
        self.totp = totp
        self._spent: dict[str, float] = {}
        self._at_hand: list[str] = []  # the code for the next attempt

    def __repr__(self) -> str:
        return "<Credential>"

    def __reduce__(self) -> str:
        raise TypeError("a Credential holds an API key and does not pickle")

    def replace_totp(self, totp: Totp) -> None:
        """Take another second factor; a code that was sent stays spent, whoever gives it."""
        try:
            problem = _totp_problem(totp)
            if problem is not None:
                raise problem
            self.totp = totp
            self._at_hand.clear()
        finally:
            del totp  # no traceback of ours holds a secret

    @property
    def jitter_hash(self) -> float:
        """A number in [0, 1) that is the same for the same key, on any host."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:6], "big") / 2**48

    @property
    def single_use(self) -> bool:
        """The second factor is one fixed code."""
        return isinstance(self.totp, str)

    def ask(self, now: float) -> None:
        """Ask for the code of one attempt and keep it for ``take``. ``CodeSpent``: it was sent before.

        ``now`` is monotonic: a wall clock that is set forward must not make a spent code forgotten.
        """
        totp = self.totp
        if totp is None:
            return
        code = totp if isinstance(totp, str) else totp()
        problem = code_problem(code)
        if problem is not None:
            del code
            raise problem
        for old, at in list(self._spent.items()):
            if now - at > _SPENT_FOR and not self.single_use:
                del self._spent[old]
        if code in self._spent:
            raise CodeSpent
        if self.totp is totp:  # else it has been replaced meanwhile
            self._at_hand[:] = [code]

    def take(self) -> str | None:
        """The code that was asked for, ``None`` if there is none. A second attempt does not get it."""
        try:
            return self._at_hand.pop()
        except IndexError:
            return None

    def consume(self, code: str, now: float) -> None:
        """Note that ``code`` reached the socket."""
        self._spent[code] = now


def _totp_problem(totp: Totp) -> Exception | None:
    return None if totp is None or callable(totp) else code_problem(totp)


def code_problem(code: object) -> Exception | None:
    """Say why ``code`` can be no one-time code, without showing it."""
    if not isinstance(code, str):
        return TypeError(
            f"totp: must be a str or a callable that returns one, not {type(code).__name__} "
            "(an int loses the leading zero that one code in ten has)"
        )
    if not _CODE.fullmatch(code):
        return ValueError(
            f"totp: {len(code)} characters that are no one-time code; allowed are 6 to 8 digits, or a recovery code "
            "of 10 to 16 letters and digits (a TOTP secret is not a code: pass totp=lambda: pyotp.TOTP(secret).now())"
        )
    return None
