"""What the endpoint has last done for this process."""

from __future__ import annotations

import math


class EndpointHistory:
    """Written when an attempt ends, or when another process's token is found. Times are monotonic seconds.

    Arguments:
        known_good: this address has given a token before.
    """

    __slots__ = ("granted_at", "known_good", "last_failure")

    def __init__(self, *, known_good: bool = False) -> None:
        self.known_good = known_good
        self.granted_at = -math.inf  # when it last gave a token
        self.last_failure = ""  # what the last attempt has met, in words; "" once one has succeeded

    def granted(self, now: float) -> None:
        """It has given a token."""
        self.granted_at = now
        self.known_good = True

    def token_found(self) -> None:
        """Another process has a token of it."""
        self.known_good = True

    def answered(self) -> None:
        """The API itself has answered."""
        self.last_failure = ""

    def failed(self, words: str) -> None:
        """An attempt has failed."""
        self.last_failure = words
