"""What FakeColony reports about the requests that it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FakeRequest:
    """One request that reached the server.

    Attributes:
        at: when it arrived, seconds on the server's clock (``FakeColony.now``).
        method: GET, POST, ...
        path: without the query.
        status: of the answer; 0 if the client never got a whole answer.
        connection: number of the TCP connection.
        agent: the short name of the key (``subject``); empty if there was none.
        idempotency_key: the header, or ``None``.
        seconds: how long the server took.
        wall: when it arrived, unix time in seconds.
    """

    at: float
    method: str
    path: str
    status: int
    connection: int
    agent: str
    idempotency_key: str | None
    seconds: float
    wall: float


@dataclass(frozen=True, slots=True)
class FakeStats:
    """Counts since the start or the last ``reset_stats``.

    Attributes:
        now: the server's clock, seconds since it started.
        requests: how many have ended.
        in_flight: requests that are being answered now.
        max_in_flight: the most at once; a request whose client has closed does not count.
        connections: TCP connections accepted.
        open_connections: those open now.
        knocks: how often the server was knocked over (``FakeColony.capacity``).
        tokens_issued: the tokens that the server made, whether or not the answer arrived.
        codes_seen: one-time codes that came for keys with a second factor.
        codes_refused: those of them that were wrong or used twice.
        answers: number of requests by ``(path, status)``; status 0 is no whole answer.
    """

    now: float
    requests: int
    in_flight: int
    max_in_flight: int
    connections: int
    open_connections: int
    knocks: int
    tokens_issued: int
    codes_seen: int
    codes_refused: int
    answers: Mapping[tuple[str, int], int]
