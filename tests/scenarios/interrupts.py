"""G3: what a call is interrupted with passes through, ends that call, and nobody else notices."""

from __future__ import annotations

import logging
import signal
from functools import partial
from typing import Any

from tests.support.private import Driver, Engine, engine_of, pool_of

from . import GEVENT, World, error_of, scenario


class _TimeLimitError(Exception):
    """As Celery's and RQ's: a limit that is an ``Exception``."""


def _made(w: World, number: int) -> bool:
    return bool(w.colony.count("/auth/token") == number)


def _is_parked(pool: Any) -> bool:
    return bool(pool.status().waiters == 1)


def _is_empty(pool: Any) -> bool:
    return bool(pool.status().connections == (0, 0))


def _hanging(w: World) -> Any:
    from colony_pool import RetryConfig

    pool = w.pool(retry=RetryConfig(retry_network_errors=True, base_delay=0.1))
    agent = pool.agent("col_a")
    agent.token()
    w.colony.behave("hang", only="/users/me")
    return agent


@scenario("threads", "gevent", "gevent-late")
def g3_a_signal_handlers_exception_passes_through_an_api_call(w: World) -> None:
    def strike(*_: Any) -> None:
        raise _TimeLimitError

    agent = _hanging(w)
    if w.gevent:  # there a handler runs in the hub, and hands what it raises to the main greenlet
        import gevent

        main = gevent.getcurrent()
        signal.signal(signal.SIGALRM, lambda *_: gevent.spawn(main.throw, _TimeLimitError))
    else:
        signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    assert type(error_of(agent.get, "/users/me", timeout=20.0)) is _TimeLimitError
    w.until(lambda: w.colony.count("/users/me") <= 1, "it is not sent again")
    w.until(lambda: pool_of(agent).status().connections[0] == 0, "its slot comes back")


@scenario(*GEVENT)
def g3_what_a_greenlet_is_killed_with_passes_through(w: World) -> None:
    import gevent

    agent = _hanging(w)

    def limited() -> None:
        with gevent.Timeout(0.2, _TimeLimitError):
            agent.get("/users/me", timeout=20.0)

    def silent() -> str:
        with gevent.Timeout(0.2, False):  # type: ignore[arg-type] # gevent's own documentation has it
            agent.get("/users/me", timeout=20.0)
        return "over"

    assert type(error_of(limited)) is _TimeLimitError
    assert silent() == "over"
    w.until(lambda: w.colony.stats().in_flight == 0)
    task = w.spawn(lambda: agent.get("/users/me", timeout=20.0))
    w.until(lambda: w.colony.stats().in_flight == 1)
    task.kill(_TimeLimitError)
    assert type(task.join().error) is _TimeLimitError
    w.until(lambda: pool_of(agent).status().connections[0] == 0, "its slot comes back")


@scenario("gevent", "gevent-late")
def g3_an_attempt_whose_task_is_killed_is_made_again(w: World) -> None:
    """Test suites and reloaders kill every greenlet that there is."""
    import gevent

    logging.getLogger("colony_pool").setLevel(logging.CRITICAL)
    for kill in (gevent.GreenletExit, _TimeLimitError):
        pool = w.pool()
        w.colony.latency(0.4)
        before: int = w.colony.count("/auth/token")
        task = w.spawn(pool.agent("col_innocent").token)
        w.until(lambda: w.colony.stats().in_flight == 1)
        runtime: Any = engine_of(pool).runtime
        gevent.killall(list(runtime._greenlets), exception=kill, block=False)
        assert task.result()
        w.until(partial(_made, w, before + 2), "the killed one, and another")


@scenario("gevent", "gevent-late")
def g3_an_attempt_whose_task_is_killed_before_it_begins_is_made(w: World) -> None:
    import gevent

    pool = w.pool()
    runtime: Any = engine_of(pool).runtime
    started = runtime._go

    def go(fn: Any, args: Any) -> None:
        started(fn, args)
        runtime._go = started
        gevent.killall(list(runtime._greenlets), block=False)

    runtime._go = go
    assert pool.agent("col_a").token(max_wait=5.0)


@scenario()
def g2_what_totp_raises_is_raised_afresh_for_each_call(w: World) -> None:
    asked, leave = w.event(), w.event()

    def totp() -> str:
        asked.set()
        leave.wait(30.0)
        raise ValueError("the vault is sealed")

    pool = w.pool()
    agent = pool.agent("col_a", totp=totp)
    tasks = [w.spawn(agent.token) for _ in range(20)]
    assert asked.wait(10.0)
    w.until(lambda: pool.status().waiters == 20)
    leave.set()
    errors = [task.join().error for task in tasks]
    assert {(type(error), str(error)) for error in errors} == {(ValueError, "the vault is sealed")}
    assert len({id(error) for error in errors}) == 20


@scenario()
def g2_a_totp_that_ends_its_task_ends_no_callers(w: World) -> None:
    from colony_pool import ColonyAPIError

    def totp() -> str:
        raise SystemExit(3)

    error = error_of(w.pool().agent("col_a", totp=totp).token)
    assert type(error) is ColonyAPIError
    assert type(error.__cause__) is SystemExit


@scenario("gevent", "gevent-late")
def g26_close_in_a_hub_does_what_needs_no_waiting_and_again_finishes(w: World) -> None:
    """Signal handlers run in the hub."""
    import gevent

    from colony_pool import PoolClosedError

    pool = w.pool()
    pool.agent("col_a").token()
    w.colony.behave("hang", only="/auth/token")
    parked = w.spawn(pool.agent("col_b").token)
    w.until(lambda: pool.status().in_flight == 1)
    raised: list[BaseException | None] = []

    def in_hub() -> None:
        try:
            pool.close()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    gevent.get_hub().loop.run_callback(in_hub)
    assert type(parked.join().error) is PoolClosedError
    assert raised == [None]
    pool.close()
    w.until(lambda: w.sockets() == 0, "no socket is left")


@scenario("threads")
def g26_close_that_is_cut_short_at_any_line_is_finished_by_the_next(w: World) -> None:
    import sys
    import threading

    from colony_pool import ColonyPool, PoolClosedError

    closing = {method.__code__ for method in (ColonyPool.close, Engine.stop, Driver.stop)}

    def interrupted(pool: Any, at: int) -> int:
        steps = [0]

        def trace(frame: Any, event: str, _: Any) -> Any:
            if frame.f_code not in closing:
                return None
            if event == "line":
                steps[0] += 1
                if steps[0] == at:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            pool.close()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        return steps[0]

    for at in range(1, 100):
        pool = w.pool(max_wait=100.0)
        pool.agent("col_a").token()
        pool.breaker.open()
        parked = w.spawn(pool.agent("col_parked").token)
        w.until(partial(_is_parked, pool))
        steps = interrupted(pool, at)
        closers = [w.spawn(pool.close) for _ in range(2)]
        for closer in closers:
            closer.result()
        assert type(parked.join().error) is PoolClosedError
        w.until(partial(_is_empty, pool))
        w.pools.remove(pool)
        if steps < at:
            break
    assert at > 20, "there are so many lines"
    w.until(lambda: not [t for t in threading.enumerate() if t.name.startswith("colony_pool-worker")])


@scenario("threads")
def g3_a_signal_handler_may_use_the_pool_at_any_step(w: World) -> None:
    """Also while its own thread opens a connection: it never waits for itself."""
    import os
    import sys

    import colony_pool

    pool = w.pool()
    agent = pool.agent("col_a")
    agent.token()
    ours = os.path.dirname(colony_pool.__file__)
    number, answered, steps = 0, [0], [0]

    def trace(frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(ours):
            return None
        if event == "line":
            steps[0] += 1
            if steps[0] == number:
                sys.settrace(None)
                assert agent.get("/users/me").status == 200
                answered[0] += 1
        return trace

    while True:
        number, steps[0] = number + 7, 0
        w.colony.close_idle()
        sys.settrace(trace)
        try:
            assert agent.get("/users/me").status == 200
        finally:
            sys.settrace(None)
        if steps[0] < number:
            break
    assert answered[0] > 10


@scenario("threads")
def g3_an_exception_thrown_into_a_thread_locks_nobody_out(w: World) -> None:
    """As Dramatiq, ``func_timeout`` and ``stopit`` do it, to threads that are not the main one."""
    import os
    import sys
    import threading

    import pybreaker

    import colony_pool

    class Limit(BaseException):
        pass

    class Hears(pybreaker.CircuitBreakerListener):
        def success(self, cb: Any) -> None:
            """Without a listener nobody is told of a success."""

    pool = w.pool(maxsize=4)
    pool.breaker.add_listener(Hears())
    ours = os.path.dirname(colony_pool.__file__)
    pool.agent("col_warm").token()
    steps = [0]

    def struck(at: int) -> bool:
        """Whether a call was struck at its step ``at``; False if it has fewer."""
        steps[0] = 0

        def profile(frame: Any, event: str, _: Any) -> None:
            # Where the interpreter looks for such an exception: as a function begins, and as one in C has returned.
            if event in ("call", "c_return") and frame.f_code.co_filename.startswith(ours):
                steps[0] += 1
                if steps[0] == at:
                    raise Limit

        sys.setprofile(profile)
        try:
            pool.agent(f"col_{at}").token()
        except Limit:
            return True
        finally:
            sys.setprofile(None)
        return False

    for at in range(1, 5000):
        task = w.spawn(struck, at)
        done = task.result()
        if steps[0] < at:
            break
        assert pool.agent(f"col_after_{at}").token(max_wait=5.0), done
        assert w.spawn(pool.agent(f"col_too_{at}").token).result()
    assert at > 100, "there are so many steps"
    w.until(lambda: pool.status().in_flight == 0 and pool.status().waiters == 0, "permits and waiters come back")
    w.until(lambda: engine_of(pool).network.bulkhead.in_use == 0, "slots come back")
    assert threading.active_count() < 50
    pool.breaker.open()
    assert ("open", "open") == (pool.breaker.current_state, pool.status().breaker.state)
