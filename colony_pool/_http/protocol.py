"""What sends the requests of a pool: the network, or what stands in its place in a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .cancel import CancelToken
from .failures import RawResponse


class Transport(Protocol):
    """Sends one request at a time for each caller, and makes no retry of its own.

    Many tasks call ``send`` at once. Each call may block its own task and no other: in a simulation it waits with
    ``SimRuntime.sleep``.
    """

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        total: float | None,
        max_body: int,
        cancel: CancelToken | None,
        priority: bool,
        once: bool,
        since: float,
    ) -> RawResponse:
        """Send one request and return the whole answer, whatever its status.

        The pool gives every argument. One that stands in for the network may ignore all but the first four.

        Arguments:
            method: in capital letters.
            path: with the path of ``base_url`` before it, and with the query.
            headers: what is sent, beside the headers that the transport itself adds.
            body: what is sent, or ``None``.
            total: seconds for everything; ``None`` is the transport's own limit.
            max_body: bytes; a longer answer is a ``BadReply``.
            cancel: ends the request from another task.
            priority: it goes before other requests that wait for a connection.
            once: it must not be sent a second time, not even when an idle connection turns out to be dead.
            since: it needs a connection that was opened after this, in monotonic seconds, or has brought an answer
                below 500 since then: an attempt after a failure. ``math.inf`` needs a new one, ``-math.inf`` none.

        Raises:
            NetworkFailure: there was no answer.
            BadReply: there was an answer that cannot be used.
            ValueError: a header has characters that no header may have.
        """
        ...

    def connections(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many are idle."""
        ...

    def opened(self) -> int:
        """Return how many connections were opened so far."""
        ...

    def close(self) -> None:
        """Close the connections. The pool is closed, or another engine takes over: ``send`` may still be called."""

    def after_fork(self) -> None:
        """In a forked child: forget the connections of the parent, without closing them for the parent."""
