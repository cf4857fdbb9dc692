"""Look-ups of a host name: shared by those who need them, and what holds while none can begin."""

from __future__ import annotations

import socket
from typing import Any

from tests.support.addresses import Names, entry, patched_look_up
from tests.support.private import engine_of, metrics_of, waiting_for_a_name

from . import GEVENT, World, error_of, scenario
from ._after import assert_documented, key
from .forks import _child as forked_child
from .forks import _ended_well as children_end_well

SYNC = ("threads", *GEVENT)


@scenario("gevent", "gevent-late")
def g4_g11_a_look_up_that_cannot_begin_is_no_evidence_and_loses_no_lease(w: World) -> None:
    import gevent
    from gevent.monkey import get_original

    from colony_pool import BreakerConfig

    pool = w.pool(
        f"http://localhost:{w.colony.port}/api/v1", probe_timeout=0.1, breaker=BreakerConfig(open_delay=0.05)
    )
    gate = get_original("_thread", "allocate_lock")()
    gate.acquire()
    threads = gevent.get_hub().threadpool
    jobs = [threads.spawn(lambda: (gate.acquire(), gate.release())) for _ in range(threads.maxsize)]
    try:
        pool.breaker.open()
        task = w.spawn(lambda: pool.agent("col_a").token(max_wait=60.0))
        w.until(
            lambda: metrics_of(pool).counters.count("breaker_probes_total", "cancelled") >= 3, "probes are given back"
        )
        assert pool.status().breaker.cause == "opened by an operator", "no probe has failed"
        assert metrics_of(pool).counters.count("attempts_total", "network") == 0
    finally:
        gate.release()  # before the server is asked for anything: the test's own look-ups need a thread, too
    for job in jobs:
        job.get()
    assert task.result()
    assert len(w.token_requests()) >= 1
    assert pool.status().breaker.state == "closed"


def _cold(w: World, names: Names, pool: Any, number: int) -> list[Any]:
    """Agents with a token and without a connection."""
    agents = [pool.agent(key(i)) for i in range(number)]
    for agent in agents:
        agent.token()
    w.colony.close_idle()
    w.until(lambda: w.colony.stats().open_connections == 0)
    names.asked = 0
    return agents


def _get(agent: Any, timeout: float = 600.0) -> int:
    return int(agent.get("/users/me", timeout=timeout).status)


@scenario()
def g2_forty_calls_make_one_look_up_and_whoever_comes_later_the_next(w: World) -> None:
    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 40)
        names.silence()
        calls = [w.spawn(_get, agent) for agent in agents]
        w.until(lambda: waiting_for_a_name(pool) == 40 and names.asked, "all wait")
        names.speak()
        assert [call.result() for call in calls] == [200] * 40
        assert names.asked == 1
        w.colony.close_idle()
        w.until(lambda: w.colony.stats().open_connections == 0)
        assert w.spawn(_get, agents[0]).result() == 200
        assert names.asked == 2
        w.until(lambda: waiting_for_a_name(pool) == 0, "nobody waits")


@scenario()
def g2_a_call_that_shares_a_look_up_ends_in_its_own_time(w: World) -> None:
    from colony_pool import ColonyNetworkError

    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        first, hasty, patient = _cold(w, names, pool, 3)
        names.silence()
        calls = [w.spawn(_get, first)]
        w.until(lambda: names.asked == 1)
        calls.append(w.spawn(_get, patient))
        error = w.spawn(_get, hasty, 0.2).join().error
        assert_documented(error, ColonyNetworkError, words="timeout: ")
        names.speak()
        assert [call.result() for call in calls] == [200, 200]
        assert names.asked == 1


@scenario()
def g2_what_a_look_up_fails_with_is_told_to_each_who_waits(w: World) -> None:
    from colony_pool import ColonyNetworkError

    with Names() as names:
        names.entries = [entry("127.0.0.1", w.colony.port)]
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 10)
        names.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        names.silence()
        calls = [w.spawn(_get, agent) for agent in agents]
        w.until(lambda: waiting_for_a_name(pool) == 10 and names.asked, "all wait")
        names.speak()
        errors = [call.join().error for call in calls]
        for error in errors:
            assert_documented(error, ColonyNetworkError, words="dns: the host name does not resolve")
        assert (len({id(error) for error in errors}), names.asked) == (10, 1)
        names.error = None
        assert w.spawn(_get, agents[0]).result() == 200


@scenario(*GEVENT)
def g3_whoever_dies_in_a_look_up_takes_nobody_along(w: World) -> None:
    """Those who wait for another's look-up, the one who has begun it, and then all."""
    with Names(entry("127.0.0.1", w.colony.port)) as names:
        before = w.sockets()
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 30)
        names.silence()
        calls = [w.spawn(_get, agent) for agent in agents]
        w.until(lambda: waiting_for_a_name(pool) == 30 and names.asked, "all wait")
        for call in calls[:10]:  # the first has begun it
            call.kill()
        for call in calls[:10]:
            assert isinstance(call.join().error, BaseException)
        names.speak()
        assert [call.result() for call in calls[10:]] == [200] * 20
        assert names.asked == 1, "it was not begun again"

        agents = _cold(w, names, pool, 10)
        names.silence()
        calls = [w.spawn(_get, agent) for agent in agents]
        w.until(lambda: waiting_for_a_name(pool) == 10 and names.asked, "all wait")
        for call in calls:
            call.kill()
        for call in calls:
            call.join()
        names.speak()
        assert w.spawn(_get, agents[0]).result() == 200
        w.until(lambda: waiting_for_a_name(pool) == 0, "nobody waits")
        w.until(lambda: w.sockets() - before == pool.status().connections[1], "only idle sockets are open")


@scenario("gevent", "gevent-late")
def g3_a_look_up_whose_task_is_killed_is_made_again(w: World) -> None:
    """Test suites and reloaders kill every greenlet that there is."""
    import gevent

    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 5)
        names.silence()
        calls = [w.spawn(_get, agent) for agent in agents]
        w.until(lambda: waiting_for_a_name(pool) == 5 and names.asked == 1, "all wait")
        runtime: Any = engine_of(pool).runtime
        gevent.killall(list(runtime._greenlets), block=False)
        w.until(lambda: names.asked == 2, "it is made again")
        names.speak()
        assert [call.result() for call in calls] == [200] * 5
        assert names.asked == 2


@scenario("gevent", "gevent-late")
def g4_a_name_that_has_just_resolved_is_good_while_no_look_up_can_begin(w: World) -> None:
    import gevent
    from gevent.monkey import get_original

    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 5)
        gate = get_original("_thread", "allocate_lock")()
        gate.acquire()
        threads = gevent.get_hub().threadpool
        jobs = [threads.spawn(lambda: (gate.acquire(), gate.release())) for _ in range(threads.maxsize)]
        calls = [w.spawn(_get, agent) for agent in agents]
        assert [call.result() for call in calls] == [200] * 5
        assert names.asked == 0
        gate.release()
        for job in jobs:
            job.get()


@scenario("threads")
def g2_a_signal_handler_within_a_look_up_makes_one_of_its_own(w: World) -> None:
    """It has interrupted the look-up that it would wait for."""
    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        outer, inner = _cold(w, names, pool, 2)
        answers: list[int] = []
        real = names._look_up

        def interrupted(host: Any, *rest: Any) -> Any:
            found = real(host, *rest)
            if names.asked == 1:
                answers.append(_get(inner))
            return found

        with patched_look_up(interrupted):
            answers.append(_get(outer))
        assert answers == [200, 200]
        assert names.asked == 2


@scenario(*SYNC)
def g24_a_child_waits_for_no_look_up_of_its_parent(w: World) -> None:
    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 3)
        names.silence()
        calls = [w.spawn(_get, agent) for agent in agents[:2]]
        w.until(lambda: waiting_for_a_name(pool) == 2 and names.asked == 1, "a look-up is under way")

        def child() -> None:
            names.speak()
            assert w.spawn(_get, agents[2]).result() == 200

        pid = forked_child(child)
        assert children_end_well(w, pid)
        names.speak()
        assert [call.result() for call in calls] == [200, 200]
        assert names.asked == 1


@scenario("gevent", "gevent-late")
def g4_calls_that_give_up_one_after_the_other_occupy_one_thread(w: World) -> None:
    """None of them begins the look-up anew that the one before has left."""
    import gevent

    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 30)
        names.silence()
        calls = []
        for agent in agents:
            calls.append(w.spawn(_get, agent, 0.1))
            w.pause(0.02)
        for call in calls:
            assert call.join().error is not None
        assert (names.asked, len(gevent.get_hub().threadpool)) == (1, 1)
        names.speak()
        assert w.spawn(_get, agents[0]).result() == 200


@scenario("gevent", "gevent-late")
def g2_greenlets_of_several_hubs_share_a_look_up_that_outlives_the_hub_of_the_first(w: World) -> None:
    with Names(entry("127.0.0.1", w.colony.port)) as names:
        pool = w.pool(names.url(w.colony.port), allow_insecure=True)
        agents = _cold(w, names, pool, 5)
        names.silence()
        first = w.native(lambda: error_of(_get, agents[0], 0.5))
        w.until(lambda: names.asked == 1)
        answers: list[int] = []
        others = [w.native(lambda a=agent: answers.append(_get(a))) for agent in agents[1:4]]  # type: ignore[misc]
        here = w.spawn(_get, agents[4])
        w.until(first, "the first thread ends, and its hub with it")
        w.until(lambda: waiting_for_a_name(pool) == 4, "the others wait")
        names.speak()
        assert here.result() == 200
        for other in others:
            w.until(other)
        assert answers == [200] * 3
        assert names.asked == 1
