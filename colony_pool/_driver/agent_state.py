"""One API key, as this process knows it."""

from __future__ import annotations

import math

from .._core.account import Account
from .credential import Credential


class AgentState:
    """What all handles on one key share.

    Arguments:
        handle: what users hold. It is kept alive while the key has a token.
    """

    __slots__ = ("__weakref__", "account", "credential", "disk_checked_at", "fresh_until", "handle", "jwt")

    def __init__(self, credential: Credential, handle: object) -> None:
        self.credential = credential
        self.handle = handle
        self.account = Account(owner=self, jitter_hash=credential.jitter_hash, totp=credential.totp is not None)
        self.jwt = ""  # the token that callers get at once, until ``fresh_until`` (monotonic)
        self.fresh_until = -math.inf
        self.disk_checked_at = -math.inf  # when the cache on disk was read last, monotonic

    def serve(self, jwt: str, until: float) -> None:
        """Give callers ``jwt`` at once, until then."""
        self.jwt = jwt
        self.fresh_until = until

    def expire(self) -> None:
        """Have callers look for a token."""
        self.fresh_until = -math.inf
