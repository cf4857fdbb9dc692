"""G3: callers die by the thousand, at any moment, and nobody else notices.

A task of an event loop dies of being cancelled, in an ``await``: ``tests/unit/aio/test_tasks.py`` cancels thousands,
and has Ctrl-C end ``asyncio.run``.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.private import engine_of

from . import GEVENT, World, scenario

MAXSIZE = 16


def _innocents(w: World, pool: Any, number: int) -> Callable[[], None]:
    """Callers who must notice nothing; the returned function ends them and says so."""
    agent = pool.agent("col_steady")
    agent.token()
    running = [True]

    def work() -> int:
        calls = 0
        while running:
            assert agent.get("/users/me").status == 200
            calls += 1
        return calls

    tasks = [w.spawn(work) for _ in range(number)]

    def end() -> None:
        running.clear()
        assert all(task.result() > 0 for task in tasks), "nobody else's call fails"

    return end


def _nothing_leaked(w: World, pool: Any) -> None:
    w.until(lambda: pool.status().in_flight == 0 and pool.status().waiters == 0, "permits and waiters come back")
    w.until(lambda: engine_of(pool).dispatcher.waiters.flights == {}, "no flight is left")
    w.until(lambda: engine_of(pool).network.bulkhead.in_use == 0, "slots come back")
    assert engine_of(pool).network.bulkhead.waiting == 0
    assert engine_of(pool).dispatcher.in_flight.probe is None
    assert w.colony.stats().max_in_flight <= engine_of(pool).options.config.maxsize
    maxsize = engine_of(pool).options.config.maxsize
    w.until(lambda: w.colony.stats().open_connections <= maxsize, "no socket is left open")
    w.until(lambda: w.sockets() == pool.status().connections[1], "on our side there are but the idle ones")
    assert pool.agent("col_steady").get("/users/me").status == 200
    assert pool.agent("col_after").token()
    assert pool.status().breaker.failures == 0, "a killed caller is not the endpoint's failure"


@scenario(*GEVENT)
def g3_four_thousand_kills_leak_nothing(w: World) -> None:
    """Half of the victims call ``token``, half ``get``; half die of ``kill``, half of ``gevent.Timeout``."""
    import gevent

    pool = w.pool(maxsize=MAXSIZE)
    dice = random.Random(7)
    w.colony.latency(0.01)
    end = _innocents(w, pool, 4)
    ends: Counter[Any] = Counter()

    def victim(agent: Any, get: bool, timeout: float | None) -> None:
        what = "get" if get else "token"
        try:
            with gevent.Timeout(timeout):
                if get:
                    agent.get("/users/me")
                agent.invalidate()
                agent.token()
            ends["survived"] += 1
        except gevent.Timeout:
            ends[what, "timeout"] += 1
        except gevent.GreenletExit:
            ends[what, "killed"] += 1

    for round_number in range(40):
        victims = []
        for i in range(100):
            agent, delay, kills = pool.agent(f"col_{round_number}_{i % 50}"), dice.random() * 0.1, i % 2
            victims.append(gevent.spawn(victim, agent, i % 4 < 2, None if kills else delay))
            if kills:
                gevent.spawn_later(delay, victims[-1].kill, block=False)
        gevent.joinall(victims)
    end()
    died = [(what, how) for what in ("get", "token") for how in ("timeout", "killed")]
    assert all(ends[way] > 300 for way in died), ends
    _nothing_leaked(w, pool)


@scenario(*GEVENT, "asyncio")  # threads: nothing kills one from outside, but for what comes below
def g3_kills_in_an_outage_take_no_probe_with_them(w: World) -> None:
    pool = w.fast(maxsize=MAXSIZE)
    w.colony.behave("status", status=502, only="/auth/token")
    dice = random.Random(3)
    stay = [w.spawn(lambda k=f"col_stay_{i}": pool.agent(k).token(max_wait=3600.0)) for i in range(20)]
    w.until(lambda: pool.status().breaker.state != "closed")
    for _ in range(10):
        victims = [w.spawn(lambda k=f"col_{i}": pool.agent(k).token(max_wait=3600.0)) for i in range(50)]
        w.pause(dice.random() * 0.05)
        for victim in victims:
            victim.kill()  # some had not begun
    w.until(lambda: pool.status().waiters == 20, "only those who stay wait")
    w.colony.behave("healthy")
    assert all(task.result() for task in stay)
    _nothing_leaked(w, pool)


@scenario("threads")
def g3_ctrl_c_at_any_moment_leaks_nothing(w: World) -> None:
    """A signal handler raises ``KeyboardInterrupt`` in the main thread, between any two of its steps."""
    pool = w.pool(maxsize=4)
    dice = random.Random(11)
    w.colony.latency(0.004)
    end = _innocents(w, pool, 3)
    armed: list[bool] = []
    hits: Counter[str] = Counter()

    def interrupt(*_: Any) -> None:
        if armed:
            armed.clear()
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    for i in range(600):
        agent = pool.agent(f"col_{i % 20}")
        name = ("get", "token")[i % 2]
        armed.append(True)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0001 + dice.random() * 0.012)
            if name == "get":
                agent.get("/users/me")
            else:
                agent.invalidate()
                agent.token()
            armed.clear()
        except KeyboardInterrupt:
            hits[name] += 1
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    end()
    assert hits["get"] > 50, hits
    assert hits["token"] > 50, hits
    _nothing_leaked(w, pool)


class _Strike:
    """Ctrl-C at one step of our code, whatever runs it."""

    def __init__(self) -> None:
        import colony_pool

        self._ours = os.path.dirname(colony_pool.__file__)
        self._at = self.steps = 0

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        self._at, self.steps = step, 0
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)

    def _trace(self, frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._ours):
            return None
        if event in ("call", "line"):
            self.steps += 1
            if self.steps == self._at:
                raise KeyboardInterrupt
        return self._trace


def _struck(strike: _Strike, step: int, agent: Any) -> Iterator[None]:
    """A generator: where a trace function raises in an ``except`` clause, Python from 3.11 on may keep what that one
    handles, and so the frame with the socket, as long as its caller runs. Signals never strike there."""
    with strike.at(step):
        agent.token()
        agent.get("/users/me")
        yield


@scenario("threads")
def g3_ctrl_c_at_each_single_step_leaks_nothing(w: World) -> None:
    """Not by chance: at the first step in the main thread, then the second, until the call comes through.

    Nor does what was left wait for the garbage collector, which may come in an hour.
    """
    gc.disable()
    pool, strike = w.pool(maxsize=4), _Strike()
    for number in range(1, 2000):
        try:
            next(_struck(strike, number, pool.agent(f"col_{number}")))
        except KeyboardInterrupt:
            continue
        break
    assert number > 100, "there are so many steps"
    _nothing_leaked(w, pool)


@scenario("gevent")
def g26_after_ctrl_c_at_any_step_of_any_greenlet_the_pool_can_be_closed(w: World) -> None:
    """gevent has it strike whichever greenlet runs, our own ones, too, and raises it in the main one."""
    import gevent

    gevent.hub.Hub.print_exception = lambda *_: None  # type: ignore[method-assign]  # thousands of tracebacks
    strike = _Strike()
    for number in range(1, 10_000, 3):
        pool = w.pool(maxsize=4)
        try:
            with gevent.Timeout(60):
                next(_struck(strike, number, pool.agent("col_one")))
        except KeyboardInterrupt:
            pass
        with gevent.Timeout(60):
            pool.close()
        w.pools.remove(pool)
        if strike.steps < number:
            break
    assert number > 300, "there are so many steps"
    w.until(lambda: w.sockets() == 0, "no socket is left open")


@scenario("threads")
def g3_an_exception_thrown_into_a_waiting_thread_leaks_nothing(w: World) -> None:
    """As debuggers and web servers do it to threads that take too long."""
    import ctypes
    import threading

    from colony_pool import BreakerConfig

    pool = w.fast(breaker=BreakerConfig(fail_max=1, open_delay=0.1, open_delay_max=0.2, min_failure_time=0.0))
    w.colony.behave("status", status=502)
    idents: list[int] = []

    def victim() -> None:
        idents.append(threading.get_ident())
        pool.agent("col_shared").token(max_wait=3600.0)

    victims = [w.spawn(victim) for _ in range(20)]
    stay = w.spawn(lambda: pool.agent("col_shared").token(max_wait=3600.0))
    w.until(lambda: pool.status().waiters == 21 and pool.status().breaker.state != "closed")
    wait = type(engine_of(w.pools[0]).runtime.event()).wait.__code__
    w.until(lambda: all(sys._current_frames()[ident].f_code is wait for ident in idents), "they wait")
    for ident in idents:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(KeyboardInterrupt))
    w.colony.behave("healthy")
    assert stay.result()
    assert {type(task.join().error) for task in victims} == {KeyboardInterrupt}
    _nothing_leaked(w, pool)
