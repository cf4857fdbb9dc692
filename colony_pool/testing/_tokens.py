"""FakeColony's API keys: their tokens, denials and second factors."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import time
from typing import Any

_SECRET = b"fake colony"
_STEP = 30.0  # RFC 6238's default time step, seconds


def subject(key: str) -> str:
    """Return the short name of an API key, from which the key cannot be found; tokens carry it as ``sub``."""
    return "agent-" + hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:12]


def totp_code(secret: str, at: float | None = None) -> str:
    """Return the 6-digit one-time code of RFC 6238.

    Arguments:
        secret: in base32, any case, padded or not, in groups or not.
        at: unix time, seconds; now if left out.

    Raises:
        ValueError: the secret is not base32.
    """
    return _code(secret, _window(time.time() if at is None else at))


def _window(at: float) -> int:
    return int(at // _STEP)


def _code(secret: str, window: int) -> str:
    secret = secret.replace(" ", "")  # apps show it in groups
    key = base64.b32decode(secret.upper() + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", window), "sha1").digest()
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_HEAD = _b64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())


def _jwt(sub: str, life: float, serial: int) -> str:
    now = time.time()
    signed = f"{_HEAD}.{_b64(json.dumps({'sub': sub, 'iat': now, 'exp': now + life, 'jti': serial}).encode())}"
    return f"{signed}.{_b64(hmac.new(_SECRET, signed.encode(), 'sha256').digest())}"


class Refusal(Exception):
    """A request that is answered with an error: status, message, code."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class KeyRegistry:
    """Which keys get tokens, and which token belongs to which key."""

    def __init__(self) -> None:
        self.expires_in: float | None = 86_400.0
        self.tell_expiry = True
        self.issued = self.codes_seen = self.codes_refused = 0
        self._serial = 0  # of tokens
        self.settings: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._spent: set[tuple[str, int]] = set()

    def set_life(self, seconds: float | None, *, tell: bool) -> None:
        self.expires_in, self.tell_expiry = seconds, tell

    def reset_stats(self) -> None:
        self.issued = self.codes_seen = self.codes_refused = 0

    def key_of(self, body: bytes) -> str:
        """Return the short name of the key in a token request; empty if there is none."""
        try:
            return subject(json.loads(body)["api_key"])
        except (ValueError, TypeError, KeyError, AttributeError):
            return ""

    def token_owner(self, authorization: str) -> str:
        """Return the short name of the key whose token a request carries, valid or not; empty if it is unknown."""
        return self._tokens.get(authorization.partition(" ")[2], ("", 0.0))[0]

    def exchange(self, body: bytes, *, expired: bool) -> dict[str, object]:
        """Return the answer to a token request, or raise a Refusal."""
        who, code = self._credentials(body)
        settings = self.settings.get(who, {})
        if refusal := settings.get("deny"):
            raise Refusal(refusal["status"], "This key was refused.", refusal["code"])
        if secret := settings.get("totp_secret"):
            self._check_code(who, secret, code)
        life = -60.0 if expired else 86_400.0 if self.expires_in is None else self.expires_in
        self.issued += 1
        self._serial += 1
        jwt = _jwt(who, life, self._serial)
        self._tokens[jwt] = (who, time.time() + life)
        told = {"expires_in": life} if self.tell_expiry and not expired else {}
        return {"access_token": jwt, "token_type": "bearer", **told}

    @staticmethod
    def _credentials(body: bytes) -> tuple[str, object]:
        try:
            fields = json.loads(body)
            key = fields["api_key"]
        except (ValueError, TypeError, KeyError):
            raise Refusal(422, "api_key is missing") from None
        if not isinstance(key, str) or not key.startswith("col_"):
            raise Refusal(401, "Invalid API key.", "AUTH_INVALID_KEY")
        return subject(key), fields.get("totp_code")

    def _check_code(self, who: str, secret: str, code: object) -> None:
        if code is None:
            raise Refusal(401, "A one-time code is required.", "AUTH_2FA_REQUIRED")
        self.codes_seen += 1
        now = _window(time.time())
        for window in (now, now - 1):  # RFC 6238 5.2: one step back, for a code that took long to arrive
            if code == _code(secret, window) and (who, window) not in self._spent:
                self._spent.add((who, window))
                return
        self.codes_refused += 1
        raise Refusal(401, "Invalid 2FA code.", "AUTH_2FA_INVALID")

    def authorized(self, authorization: str) -> str:
        """Return the short name of the key whose valid token a request carries, or raise a Refusal."""
        scheme, _, jwt = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Refusal(403, "Use Authorization: Bearer.", "AUTH_FORBIDDEN")
        who, ends = self._tokens.get(jwt, ("", 0.0))
        if not who or time.time() >= ends:
            raise Refusal(401, "The token is not valid.", "AUTH_INVALID_TOKEN")
        return who

    def revoke(self, who: str | None) -> None:
        """Revoke the tokens of one agent, or of all."""
        self._tokens = {} if who is None else {jwt: row for jwt, row in self._tokens.items() if row[0] != who}
