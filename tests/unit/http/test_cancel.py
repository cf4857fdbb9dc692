"""Whoever ends a request, in time or too late, never ends the next one on its connection (G3, G4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from colony_pool import Timeout
from colony_pool.testing import FakeColony
from tests.support.private import CancelToken, HttpTransport, NetworkFailure, ThreadRuntime

ANSWERED = 403  # there is no token in the request


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def transport(colony: FakeColony) -> Iterator[HttpTransport]:
    runtime = ThreadRuntime()
    it = HttpTransport(colony.base_url, runtime=runtime, maxsize=2, timeout=Timeout())
    yield it
    it.close()
    runtime.close(1.0)


def _get(transport: HttpTransport, path: str = "/api/v1/users/me", cancel: CancelToken | None = None) -> int:
    return transport.send("GET", path, headers={}, body=None, cancel=cancel).status


def _while_another_is_out(colony: FakeColony, transport: HttpTransport, act: Callable[[], object]) -> int:
    """The status of a request during which ``act()`` is done."""
    colony.latency(0.3)
    answers: list[int] = []
    asks = threading.Thread(target=lambda: answers.append(_get(transport)))
    asks.start()
    while colony.stats().in_flight == 0:
        pass
    act()
    asks.join()
    return answers[0]


def test_g3_a_cancel_that_comes_too_late_hits_nobody(colony: FakeColony, transport: HttpTransport) -> None:
    token = CancelToken()
    assert _get(transport, cancel=token) == ANSWERED
    assert _while_another_is_out(colony, transport, token.cancel) == ANSWERED
    assert transport.opened() == 1, "it was the same connection"


def test_g4_a_deadline_that_comes_too_late_hits_nobody(colony: FakeColony, transport: HttpTransport) -> None:
    token = CancelToken()
    assert _get(transport, cancel=token) == ANSWERED
    assert _while_another_is_out(colony, transport, token.expire) == ANSWERED
    assert transport.opened() == 1, "it was the same connection"


class _Slow(CancelToken):
    """Somebody is about to cut the connection, but has not come to it when the answer is there."""

    taken: Any = None

    def watch(self, cut: Callable[[], object]) -> None:
        super().watch(cut)
        self.taken = self._pending_cut.pop()


def test_g3_a_connection_that_is_being_cut_is_not_used_again(colony: FakeColony, transport: HttpTransport) -> None:
    token = _Slow()
    assert _get(transport, cancel=token) == ANSWERED
    assert transport.connections() == (0, 0)
    assert _while_another_is_out(colony, transport, token.taken) == ANSWERED
    assert transport.opened() == 2


def test_g3_a_request_that_is_cancelled_ends_and_gives_its_slot_back(
    colony: FakeColony, transport: HttpTransport
) -> None:
    colony.behave("hang")
    token, failures = CancelToken(), list[NetworkFailure]()

    def ask() -> None:
        try:
            _get(transport, cancel=token)
        except NetworkFailure as failure:
            failures.append(failure)

    asks = threading.Thread(target=ask)
    asks.start()
    while colony.stats().in_flight == 0:
        pass
    token.cancel()
    asks.join()
    assert ([("aborted", True)], (0, 0)) == ([(f.kind, f.sent) for f in failures], transport.connections())
