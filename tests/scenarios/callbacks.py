"""G2: no lock is held across I/O, a wait or a user's callback; callbacks may call the pool."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from itertools import pairwise
from typing import Any

from tests.support.private import engine_of, metrics_of

from . import World, error_of, scenario


def _listener(on_change: Any) -> Any:
    import pybreaker

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            on_change(old_state.name, new_state.name)

    return Listener()


@scenario()
def g2_listeners_may_call_back_and_may_raise(w: World) -> None:
    logging.getLogger("colony_pool").setLevel(logging.CRITICAL)
    pool = w.fast()
    warm = pool.agent("col_warm")
    token = warm.token()
    seen: list[tuple[str, str]] = []

    def nosy(old: str, new: str) -> None:
        seen.append((old, new))
        assert warm.token() == token
        pool.status()
        pool.agent("col_listener").invalidate()
        if new == "closed":
            assert pool.agent("col_listener").token(max_wait=10.0), "it may even wait for a new token"
        raise RuntimeError("a listener's own fault")

    pool.breaker.add_listener(_listener(nosy))
    w.colony.behave("status", status=502)
    tasks = [w.spawn(lambda k=f"col_{i}": pool.agent(k).token(max_wait=3600.0)) for i in range(40)]
    w.until(lambda: pool.status().breaker.state != "closed", "the breaker opens")
    w.colony.behave("healthy")
    assert all(task.result() for task in tasks)
    w.until(lambda: ("half-open", "closed") in seen)
    assert seen[0] == ("closed", "open")
    assert all(a[1] == b[0] for a, b in pairwise(seen)), "changes are told in order"


@scenario()
def g2_a_listener_that_waits_holds_nobody_up(w: World) -> None:
    """Neither those who wait for a token, nor API calls, nor an operator."""
    pool = w.fast()
    entered, leave = w.event(), w.event()

    def slow(old: str, new: str) -> None:
        entered.set()
        leave.wait(30.0)

    pool.breaker.add_listener(_listener(slow))
    w.spawn(pool.breaker.open)
    assert entered.wait(10.0)
    tasks = [w.spawn(pool.agent(f"col_{i}").get, "/users/me") for i in range(20)]
    assert all(task.result().status == 200 for task in tasks), "a probe closed the breaker meanwhile"
    assert pool.status().breaker.state == "closed"
    leave.set()


@scenario()
def g2_a_totp_callable_may_ask_the_pool_and_may_wait(w: World) -> None:
    pool = w.pool()
    for i in range(20):
        pool.agent(f"col_{i}").token()  # the window has grown: more than one attempt may be out
    waiting, go_on = w.event(), w.event()

    def code() -> str:
        assert pool.agent("col_0").token(), "a token that is there"
        assert pool.agent("col_other").token(max_wait=10.0), "a token that has to be fetched"
        pool.status()
        waiting.set()
        assert go_on.wait(30.0)
        return "123456"

    task = w.spawn(pool.agent("col_2fa", totp=code).token)
    assert waiting.wait(10.0)
    assert pool.agent("col_meanwhile").get("/users/me").status == 200, "others go on"
    go_on.set()
    assert task.result()


@scenario()
def g2_no_lock_is_held_while_a_request_is_out(w: World) -> None:
    pool = w.pool()
    agents = [pool.agent(f"col_{i}") for i in range(20)]
    for agent in agents:
        agent.token()
    w.colony.behave("hang", only="/hang")
    stuck = [w.spawn(lambda a=agent: a.get("/hang", timeout=20.0)) for agent in agents[:10]]
    w.until(lambda: w.colony.stats().in_flight == 10)
    started = w.colony.now()
    assert all(agent.get("/users/me").status == 200 for agent in agents)
    pool.status()
    assert pool.agent("col_new").token()
    assert w.colony.now() - started < 5.0
    w.colony.stop_listening()
    assert all(type(task.join().error).__name__ == "ColonyNetworkError" for task in stuck)


@scenario()
def a_totp_callable_that_dies_of_anything_fails_its_own_call_alone(w: World) -> None:
    class Odd(BaseException):
        pass

    def odd() -> str:
        raise Odd

    pool = w.pool()
    assert type(error_of(pool.agent("col_odd", totp=odd).token)) is Odd
    assert pool.agent("col_a").token()
    assert pool.status().in_flight == 0


@scenario()
def g2_a_listener_that_hangs_holds_up_no_call_and_what_it_misses_is_counted(w: World) -> None:
    """Whoever moves the breaker: a call of any task, its attempt, an operator."""
    import pybreaker

    class Hangs(pybreaker.CircuitBreakerListener):
        def success(self, cb: Any) -> None:
            entered.set()
            leave.wait(60.0)

    logging.getLogger("colony_pool").setLevel(logging.CRITICAL)
    pool = w.pool()
    entered, leave = w.event(), w.event()
    pool.breaker.add_listener(Hangs())
    assert pool.agent("col_first").token()
    assert entered.wait(10.0)
    tasks = [w.spawn(pool.agent(f"col_{i}").token) for i in range(1100)]
    assert all(task.result() for task in tasks)
    pool.breaker.open()
    pool.breaker.close()
    observed = metrics_of(pool.pool if hasattr(pool, "pool") else pool).take_snapshot()
    assert observed.in_progress["notices_dropped_total"][()] > 0, "the box is bounded"
    leave.set()


@scenario()
def g2_a_log_handler_that_hangs_holds_up_no_call(w: World) -> None:
    entered, leave = w.event(), w.event()
    lines: list[str] = []

    class Hangs(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            entered.set()
            leave.wait(60.0)
            lines.append(record.getMessage())
            return True

    log = logging.getLogger("colony_pool")
    log.addHandler(handler := Hangs())
    log.propagate = False
    try:
        pool = w.fast()
        pool.breaker.open()
        assert entered.wait(10.0)
        tasks = [w.spawn(pool.agent(f"col_{i}").token) for i in range(20)]
        assert all(task.result() for task in tasks)
        leave.set()
        w.until(lambda: len(lines) >= 2, "the lines come, in order")
        assert "opened by an operator" in lines[0]
    finally:
        leave.set()
        log.removeHandler(handler)


class _Hanging(logging.Handler):
    """Handles nothing before it may."""

    def __init__(self, w: World) -> None:
        super().__init__()
        self._w = w
        self.entered, self.leave = w.event(), w.event()
        self.lines: list[tuple[float, str]] = []  # the time of each, and its words

    def handle(self, record: logging.LogRecord) -> bool:
        self.entered.set()
        self.leave.wait(60.0)
        self.lines.append((record.created, record.getMessage()))
        return True

    def __enter__(self) -> _Hanging:
        log = logging.getLogger("colony_pool")
        log.addHandler(self)
        log.propagate = False
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.leave.set()
        logging.getLogger("colony_pool").removeHandler(self)

    def has_logged(self, words: str) -> float:
        """Let it go on, and wait until it has told ``words``: their time."""
        self.leave.set()
        self._w.until(lambda: any(words in line for _, line in self.lines), words)
        return next(created for created, line in self.lines if words in line)


@scenario()
def g2_a_cache_that_cannot_be_used_and_a_log_handler_that_hangs_hold_up_no_call(w: World) -> None:
    """Who looks into the cache is a caller, and who writes to it the task that follows its attempt."""
    with tempfile.NamedTemporaryFile() as file, _Hanging(w) as handler:
        os.environ["COLONY_SDK_TOKEN_CACHE_DIR"] = os.path.join(file.name, "in_a_file")
        pool = w.pool(token_cache="disk")
        began = time.time()
        tasks = [w.spawn(pool.agent(f"col_{i}").get, "/users/me") for i in range(20)]
        assert all(task.result().status == 200 for task in tasks)
        ended = time.time()
        assert handler.entered.wait(10.0)
        assert began <= handler.has_logged("is not used") <= ended, "the line has the time of what happened"


@scenario()
def g2_an_attempt_that_is_interrupted_and_a_log_handler_that_hangs_hold_up_no_call(w: World) -> None:
    """On gevent whatever a user kills greenlets with; elsewhere what nobody expects."""
    pool = w.pool()
    real = pool.pool if hasattr(pool, "pool") else pool
    transport: Any = engine_of(real).transport
    send, struck = transport.send, list[int]()

    def strike(method: str, path: str, **options: Any) -> Any:
        if path.endswith("/auth/token") and not struck:
            struck.append(1)
            raise ZeroDivisionError
        return send(method, path, **options)

    transport.send = strike
    with _Hanging(w) as handler:
        tasks = [w.spawn(pool.agent(f"col_{i}").token) for i in range(20)]
        assert all(task.result() for task in tasks), "the attempt is made again"
        assert struck
        assert pool.status().breaker.failures == 0
        assert handler.entered.wait(10.0)
        assert handler.has_logged("an attempt was interrupted")


@scenario()
def g26_close_does_not_wait_for_a_listener_that_hangs(w: World) -> None:
    pool = w.pool()
    entered, leave, heard = w.event(), w.event(), list[str]()

    def slow(old: str, new: str) -> None:
        heard.append(new)
        entered.set()
        leave.wait(60.0)

    pool.breaker.add_listener(_listener(slow))
    pool.breaker.open()
    assert entered.wait(10.0)
    pool.breaker.close()
    pool.close()
    leave.set()
    assert heard == ["open"]


@scenario()
def g26_close_tells_listeners_what_is_left(w: World) -> None:
    pool = w.pool()
    heard: list[str] = []
    pool.breaker.add_listener(_listener(lambda old, new: heard.append(new)))
    pool.breaker.open()
    pool.breaker.half_open()
    pool.close()
    assert heard == ["open", "half-open"]
