"""``pool.breaker`` as pybreaker's users use it: what it shows and sets, and calls that it guards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from colony_pool import BreakerConfig, CircuitOpenError, ColonyServerError

from . import World, error_of, scenario
from .forks import _child, _ended_well

COUNTING = BreakerConfig(fail_max=3, open_delay=0.2, open_delay_max=0.2, jitter=0.0, count_guarded_calls=True)


class MineError(Exception):
    """What a user's own function raises."""


def _boom() -> None:
    raise MineError


def _shown(pool: Any) -> tuple[str, int]:
    """What the breaker shows, which the status does as well."""
    shown = (pool.breaker.current_state, pool.breaker.fail_counter)
    status = pool.status().breaker
    assert shown == (status.state.replace("_", "-"), status.failures)
    assert pool.breaker.state.name == shown[0]
    return shown


def _ways(breaker: Any) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Each way to have ``breaker`` guard a call."""

    def block(fn: Callable[[], Any]) -> Any:
        with breaker.calling():
            return fn()

    def generated(fn: Callable[[], Any]) -> Any:
        def plain_generate() -> Iterator[Any]:
            yield fn()

        generate: Any = breaker(plain_generate)
        (answer,) = generate()
        return answer

    def finished(coroutine: Any) -> Any:
        with contextlib.closing(coroutine):
            try:
                coroutine.send(None)
            except StopIteration as end:
                return end.value
        raise AssertionError("it awaits nothing")

    def coroutine(fn: Callable[[], Any]) -> Any:
        async def plain_run() -> Any:
            return fn()

        run: Any = breaker(plain_run)
        return finished(run())

    def awaited(fn: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return fn()

        return finished(breaker.call_async(run))

    yield breaker.call
    yield lambda fn: breaker(fn)()
    yield lambda fn: breaker()(fn)()
    yield from (block, generated, coroutine, awaited)


@scenario()
def g2_guarded_calls_run_side_by_side_and_may_ask_the_pool(w: World) -> None:
    import pybreaker

    for counts in (False, True):
        pool = w.pool(breaker=BreakerConfig(count_guarded_calls=counts))
        pool.breaker.add_listener(pybreaker.CircuitBreakerListener())
        inside: list[int] = []
        go_on = w.event()

        def plain_work(number: int, pool: Any = pool, inside: list[int] = inside, go_on: Any = go_on) -> Any:
            inside.append(number)
            assert go_on.wait(30.0)
            pool.breaker.call(pool.status)
            return pool.agent(f"col_{number}").token()

        work: Any = pool.breaker(plain_work)
        tasks = [w.spawn(work, number) for number in range(30)]
        w.until(lambda inside=inside: len(inside) == 30, "all are inside")  # type: ignore[misc]
        go_on.set()
        assert all(task.result() for task in tasks)
        assert ("closed", 0) == _shown(pool)


@scenario()
def g10_guarded_calls_count_nowhere(w: World) -> None:
    pool = w.pool()
    for way in _ways(pool.breaker):
        assert "done" == way(lambda: "done")
        for _ in range(pool.breaker.fail_max):
            assert isinstance(error_of(way, _boom), MineError)
    assert ("closed", 0) == _shown(pool)
    w.colony.behave("status", status=500, only="/auth/token")
    assert isinstance(error_of(pool.agent("col_a").token, max_wait=0.0), ColonyServerError)
    pool.breaker.call(int)
    assert ("closed", 1) == _shown(pool), "a success of theirs ends no row of the pool's failures"


@scenario()
def g1_while_it_is_open_guarded_calls_are_refused_and_while_half_open_they_decide_nothing(w: World) -> None:
    import pybreaker

    pool, made = w.pool(), list[int]()
    pool.breaker.open()
    for way in _ways(pool.breaker):
        error = error_of(way, lambda: made.append(1))
        assert isinstance(error, pybreaker.CircuitBreakerError)
        assert isinstance(error, CircuitOpenError)
        assert ("open", "opened by an operator") == (error.state, error.cause)
        assert error.retry_after is not None
        assert 0.0 < error.retry_after <= 2.0
    assert [] == made
    pool.breaker.half_open()
    for way in _ways(pool.breaker):
        assert isinstance(error_of(way, _boom), MineError)
        assert "done" == way(lambda: "done")
    assert ("half-open", 0) == _shown(pool), "they are no probe"
    w.colony.behave("hang", only="/auth/token")
    asks = w.spawn(lambda: pool.agent("col_a").token(max_wait=30.0))
    w.until(lambda: pool.status().breaker.probing)
    for way in _ways(pool.breaker):
        assert isinstance(error_of(way, lambda: made.append(1)), pybreaker.CircuitBreakerError)
    assert [] == made, "while a probe is out nobody passes"
    pool.close()
    asks.join()


@scenario()
def g1_a_guarded_call_that_asks_for_a_token_is_let_through_when_the_probe_is_due(w: World) -> None:
    """Nobody else asks: if it were refused the breaker would stay open for good."""
    import pybreaker

    for counts in (False, True):
        pool = w.pool(breaker=BreakerConfig(open_delay=0.1, open_delay_max=0.1, count_guarded_calls=counts))
        agent = pool.agent("col_a")
        pool.breaker.open()
        got: list[str] = []

        def plain_work(agent: Any = agent, got: list[str] = got) -> None:
            got.append(agent.token())

        work: Any = pool.breaker(plain_work)

        def tried(work: Any = work, got: list[str] = got) -> bool:
            with contextlib.suppress(pybreaker.CircuitBreakerError):
                work()
            return bool(got)

        w.until(tried)
        w.until(lambda pool=pool: _shown(pool) == ("closed", 0))  # type: ignore[misc]


@scenario()
def g10_guarded_calls_count_and_open_the_pool_where_that_is_wished(w: World) -> None:
    import pybreaker

    pool = w.pool(breaker=COUNTING)
    for way in _ways(pool.breaker):
        assert [MineError, MineError] == [type(error_of(way, _boom)) for _ in range(2)]
        assert ("closed", 2) == _shown(pool)
        assert 1 == way(lambda: 1)
        assert ("closed", 0) == _shown(pool), "a success ends the row"
        for _ in range(2):
            error_of(way, _boom)
        opens = error_of(way, _boom)
        assert isinstance(opens, pybreaker.CircuitBreakerError)
        assert isinstance(opens.__cause__, MineError)
        assert ("open", 3) == _shown(pool)
        assert "a guarded call raised MineError" == pool.status().breaker.cause
        assert isinstance(error_of(pool.agent("col_a").token, max_wait=0.0), CircuitOpenError)
        assert isinstance(error_of(way, lambda: 1), pybreaker.CircuitBreakerError)
        pool.breaker.half_open()
        assert isinstance(error_of(way, _boom), pybreaker.CircuitBreakerError), "the trial has failed"
        assert ("open", 4) == _shown(pool)
        pool.breaker.half_open()
        assert 1 == way(lambda: 1)
        assert ("closed", 0) == _shown(pool)
    assert 0 == len(w.token_requests())
    assert pool.agent("col_a").token()


@scenario()
def g10_failures_of_the_pool_and_of_guarded_calls_are_one_row(w: World) -> None:
    pool = w.pool(breaker=COUNTING)
    w.colony.behave("status", status=500, only="/auth/token")
    error_of(pool.breaker.call, _boom)
    error_of(pool.agent("col_a").token, max_wait=0.0)
    w.until(lambda: _shown(pool) == ("closed", 2))
    error_of(pool.breaker.call, _boom)
    assert ("open", 3) == _shown(pool)


@scenario()
def g1_of_guarded_calls_that_count_one_at_a_time_finds_out(w: World) -> None:
    import pybreaker

    pool = w.pool(breaker=COUNTING)
    inside, leave = w.event(), w.event()
    pool.breaker.half_open()

    def plain_work() -> Any:
        inside.set()
        assert leave.wait(30.0)
        return pool.breaker.call(int) + len(pool.agent("col_a").token())

    work: Any = pool.breaker(plain_work)
    trial = w.spawn(work)
    assert inside.wait(10.0)
    for way in _ways(pool.breaker):
        assert isinstance(error_of(way, int), pybreaker.CircuitBreakerError)
    assert ("half-open", 0) == _shown(pool)
    leave.set()
    assert trial.result() > 10, "what it calls is part of it, and its own request is the probe"
    assert ("closed", 0) == _shown(pool)
    assert 1 == len(w.token_requests())


@scenario()
def g10_fail_max_is_set_while_the_pool_works(w: World) -> None:
    pool = w.pool(breaker=BreakerConfig(min_failure_time=0.0))
    assert 16 == pool.breaker.fail_max
    pool.breaker.fail_max = 3
    assert 3 == pool.breaker.fail_max
    assert pool.agent("col_well").token()
    w.colony.behave("status", status=500, only="/auth/token")
    for number in range(3):
        error_of(pool.agent(f"col_{number}").token, max_wait=0.0)
    w.until(lambda: _shown(pool) == ("open", 3))
    for wrong in (0, -1, 2.5, "3", True, None):
        error = error_of(setattr, pool.breaker, "fail_max", wrong)
        assert isinstance(error, ValueError)
        assert repr(wrong) in str(error)
        assert "fail_max" in str(error)
    assert 3 == pool.breaker.fail_max


@scenario()
def g24_the_breaker_answers_before_the_first_call_in_a_child_and_after_the_end(w: World) -> None:
    def answers(pool: Any) -> list[Any]:
        breaker = pool.breaker
        return [
            *_shown(pool), breaker.fail_max, breaker.reset_timeout, breaker.success_threshold,
            breaker.success_counter, breaker.name, breaker.excluded_exceptions, breaker.listeners, breaker.opened_at,
        ]  # fmt: skip

    pool = w.pool(name="mine")
    fresh: list[Any] = ["closed", 0, 16, 2.0, 1, 0, "mine", (), (), None]
    assert fresh == answers(pool)
    pool.breaker.fail_max = 7
    pool.breaker.add_excluded_exception(KeyError)
    pool.breaker.open()
    known = ["open", 0, 7, 2.0, 1, 0, "mine", (KeyError,), ()]
    assert known == answers(pool)[:-1]

    def child() -> None:
        assert ["closed", *known[1:], None] == answers(pool), "closed, and set as the parent had it"
        for way in _ways(pool.breaker):
            assert 1 == way(lambda: 1)
        pool.breaker.open()
        assert known == answers(pool)[:-1]

    assert _ended_well(w, *[_child(child) for _ in range(2)])
    pool.close()
    assert known == answers(pool)[:-1]
    pool.breaker.close()
    pool.breaker.fail_max = 16
    pool.breaker.remove_excluded_exception(KeyError)
    assert fresh == answers(pool)


@scenario()
def g24_a_guarded_call_that_begins_before_a_fork_and_ends_in_the_child_counts_in_neither(w: World) -> None:
    pool = w.pool(breaker=COUNTING)
    children: list[int] = []

    def plain_work() -> None:
        pid = os.fork()
        if not pid:
            raise MineError
        children.append(pid)

    work: Any = pool.breaker(plain_work)
    try:
        work()
    except MineError:
        os._exit(0 if _shown(pool) == ("closed", 0) else 1)
    except BaseException:
        os._exit(2)
    assert _ended_well(w, *children)
    assert ("closed", 0) == _shown(pool)


@scenario()
def g3_what_a_guarded_call_is_interrupted_with_is_no_failure_of_it(w: World) -> None:
    class StruckError(BaseException):
        pass

    def struck() -> None:
        raise StruckError

    pool = w.pool(breaker=COUNTING)
    for way in _ways(pool.breaker):
        for _ in range(4):
            assert isinstance(error_of(way, struck), StruckError)
    assert ("closed", 0) == _shown(pool)
    pool.breaker.half_open()
    for way in _ways(pool.breaker):
        assert isinstance(error_of(way, struck), StruckError), "the trial is given back"
    assert ("half-open", 0) == _shown(pool)
    assert 1 == pool.breaker.call(lambda: 1)
    assert ("closed", 0) == _shown(pool)


@scenario()
def g2_listeners_are_told_of_guarded_calls_and_of_the_pools_own_in_order(w: World) -> None:
    import pybreaker

    class Told(pybreaker.CircuitBreakerListener):
        def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
            heard.append(("before", getattr(func, "__name__", ""), args, kwargs))

        def success(self, cb: Any) -> None:
            heard.append("success")

        def failure(self, cb: Any, exc: BaseException) -> None:
            heard.append(("failure", type(exc).__name__))

        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            assert _shown(pool)[0] == new_state.name == cb.current_state, "they agree with what is told"
            heard.append((old_state.name, new_state.name))

    pool, heard = w.pool(), list[Any]()
    told = Told()
    pool.breaker.add_listener(told)
    assert (told,) == pool.breaker.listeners
    assert told is pool.breaker.listeners[0]
    pool.breaker.call(divmod, 7, 2)
    error_of(pool.breaker.call, _boom)
    pool.agent("col_a").token()
    w.until(lambda: len(heard) == 6)
    for move, told_as in (("open", "open"), ("half_open", "half-open"), ("close", "closed")):
        getattr(pool.breaker, move)()
        w.until(lambda told_as=told_as: heard[-1][1] == told_as)  # type: ignore[misc]
    assert [
        ("before", "divmod", (7, 2), {}), "success", ("before", "_boom", (), {}), ("failure", "MineError"),
        ("before", "_token_request", (), {}), "success", ("closed", "open"), ("open", "half-open"),
        ("half-open", "closed"),
    ] == heard  # fmt: skip
    pool.breaker.remove_listener(told)
    assert () == pool.breaker.listeners
    pool.breaker.open()
    pool.close()
    assert len(heard) == 9, "it is told nothing more"
