"""What must hold of every fault: a documented error without a secret, nothing leaked, and service once it ends."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from tests.support.private import engine_of, metrics_of

from . import World

SECRET = "S3CRET"
_SERIAL = itertools.count()


class _Bugs(logging.Handler):
    """Keeps what the library logs as its own fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


_BUGS = _Bugs()
logging.getLogger("colony_pool").addHandler(_BUGS)


def key(name: object) -> str:
    """An API key that is easy to find where it must not be."""
    return f"col_{SECRET}_{name}"


def counted(pool: Any, kind: str, attempts: int) -> bool:
    """Whether ``attempts`` have ended as ``kind``; they are counted a moment after their caller was told."""
    return bool(metrics_of(pool).counters.count("attempts_total", kind) == attempts)


def assert_documented(error: BaseException | None, *allowed: type[BaseException], words: str = "") -> None:
    """``error`` is of an ``allowed`` class, says ``words`` in one line, blames no key, and holds no secret."""
    assert type(error) in allowed, repr(error)
    message = str(error)
    assert words in message, message
    assert message.isprintable(), message
    assert len(message) < 500, message
    assert "check that it is the current one" not in message
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        assert SECRET not in f"{error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


def assert_recovered(w: World, pool: Any) -> None:
    """Every permit, waiter, slot and socket has come back, and the pool serves keys old and new."""
    from colony_pool.testing import subject

    dispatcher, bulkhead = engine_of(pool).dispatcher, engine_of(pool).network.bulkhead
    w.until(lambda: pool.status().waiters == 0 and pool.status().in_flight == 0, "permits and waiters come back")
    w.until(
        lambda: dispatcher.waiters.flights == {} and dispatcher.in_flight.probe is None,
        "no flight and no lease is left",
    )
    w.until(lambda: bulkhead.in_use == 0 and bulkhead.waiting == 0, "slots come back")
    new = key(f"after_{next(_SERIAL)}")
    pool.agent(new).token(max_wait=60.0)
    for name in (key("before"), new):
        assert pool.agent(name).get("/users/me").json()["id"] == subject(name), "somebody else's answer"
    assert pool.status().breaker.state == "closed"
    assert _BUGS.seen == []
    w.until(lambda: w.sockets() == sum(one.status().connections[1] for one in w.pools), "only idle sockets are open")
