"""What a pool asks of a ``transport=``, in virtual time: two kinds of requests, and what connections they took."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from colony_pool.types import CancelToken, RawResponse

TOTAL = 30.0


class VirtualTransport:
    """Answers in virtual time. A connection is one request's at a time, and none is ever closed."""

    def __init__(self) -> None:
        self._in_use = 0
        self._opened = 0

    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        """Answer a request for a token."""
        raise NotImplementedError

    def call(self, jwt: str) -> RawResponse:
        """Answer an API call."""
        raise NotImplementedError

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, max_body: int,
        total: float | None = None, cancel: CancelToken | None = None, priority: bool = False, once: bool = True,
        since: float = -math.inf,
    ) -> RawResponse:  # fmt: skip
        self._in_use += 1
        self._opened = max(self._opened, self._in_use)
        try:
            if path.endswith("/auth/token"):
                return self.token(json.loads(body or b"{}"), total or TOTAL, cancel or CancelToken())
            return self.call(headers["Authorization"].removeprefix("Bearer "))
        finally:
            self._in_use -= 1

    def connections(self) -> tuple[int, int]:
        return self._in_use, self._opened - self._in_use

    def opened(self) -> int:
        return self._opened

    def close(self) -> None: ...

    def after_fork(self) -> None: ...
