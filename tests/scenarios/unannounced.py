"""G24, where Python is not told of the fork: a C library forks, as uWSGI does, and no hook of Python's runs."""

from __future__ import annotations

import ctypes
import os
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from . import World, scenario
from .forks import _ask_as, _child, _ended_well


def _fork() -> int:
    """Fork, and tell Python nothing; the interpreter's lock is held meanwhile, as in uWSGI without threads."""
    return int(ctypes.PyDLL(None).fork())


class Children:
    """Children that Python is not told of. gevent may reap them before anybody asks: each writes what came of it."""

    def __init__(self, w: World, *, at_rest: bool = True) -> None:
        """Wait until the threads that have done something in the background have ended.

        One that waits for the interpreter's lock at the fork, or has it, breaks that in the child: no library can
        mend it.
        """
        self._w = w
        if at_rest:
            w.until(lambda: w.threads() <= 1 + 2 * (w.loops is not None), "no thread is at work")
        self._read, self._write = os.pipe()
        self._count = 0

    def fork(self, body: Callable[[], None]) -> None:
        """Run ``body`` in a child."""
        self._count += 1
        if _fork():
            return
        code = b"-"
        try:
            if self._w.loops is not None:
                self._w.loops._forget()  # its threads are the parent's
            body()
            code = b"+"
        except BaseException:
            traceback.print_exc()
        finally:
            os.write(self._write, code)
            os._exit(0)

    def end_well(self) -> bool:
        """Wait for them without blocking anybody else here; whether all bodies held."""
        said = b""
        os.set_blocking(self._read, False)

        def all_over() -> bool:
            nonlocal said
            try:
                said += os.read(self._read, 100)
            except BlockingIOError:
                return False
            return len(said) == self._count

        self._w.until(all_over, "the children end")
        return said == b"+" * self._count


@scenario()
def g24_unannounced_forked_workers_never_see_each_others_answers(w: World) -> None:
    pool = w.pool()
    parents = pool.agent("col_parent")
    before = parents.token()
    for task in [w.spawn(parents.get, "/users/me") for _ in range(4)]:  # warm connections
        task.result()
    assert w.sockets() > 0

    def child(number: int) -> None:
        assert parents.token() == before, "the child keeps its tokens"
        _ask_as(pool, f"child_{number}")

    children = Children(w)
    for number in range(3):
        children.fork(lambda n=number: child(n))  # type: ignore[misc]
    _ask_as(pool, "parent")
    assert children.end_well()


@scenario()
def g24_an_unannounced_fork_within_an_unannounced_fork(w: World) -> None:
    pool = w.pool()
    pool.agent("col_parent").get("/users/me")

    def child() -> None:
        grandchildren = Children(w)
        grandchildren.fork(lambda: _ask_as(pool, "grandchild"))
        _ask_as(pool, "child")
        announced = _child(lambda: _ask_as(pool, "told"))
        assert grandchildren.end_well()
        assert _ended_well(w, announced)

    children = Children(w)
    children.fork(child)
    _ask_as(pool, "parent")
    assert children.end_well()


# Not where other threads run: one that waits for the interpreter's lock at such a fork stops the child for good.
@scenario("gevent", "gevent-late")
def g24_an_unannounced_fork_in_the_middle_of_other_tasks_requests(w: World) -> None:
    """Requests in flight stay the parent's; the child starts with no waiter, lease or slot of theirs."""
    from colony_pool.testing import subject

    pool = w.pool(maxsize=8)
    for i in range(16):
        pool.agent(f"col_{i}").token()
    w.colony.latency(0.5)
    calls = [w.spawn(pool.agent(f"col_{i}").get, "/users/me") for i in range(16)]
    cold = [w.spawn(pool.agent(f"col_cold_{i}").token) for i in range(10)]
    w.until(lambda: w.colony.stats().in_flight == 8 and pool.status().waiters == 10, "all slots are taken")

    def child() -> None:
        status = pool.status()
        assert (status.waiters, status.in_flight, status.connections) == (0, 0, (0, 0))
        _ask_as(pool, "child", 3)

    children = Children(w, at_rest=False)
    for _ in range(2):
        children.fork(child)
    for i, call in enumerate(calls):
        assert call.result().json()["id"] == subject(f"col_{i}")
    assert all(task.result() for task in cold)
    w.colony.latency(0.0)
    assert children.end_well()
    mine = {subject(f"col_cold_{i}") for i in range(10)}
    made = [request for request in w.token_requests() if request.agent in mine]
    assert len(made) == len(cold), "what was copied along asks for nothing"


@scenario()
def g24_whatever_is_done_first_in_an_unannounced_child_is_done_in_its_own_name(w: World) -> None:
    """Not the next token alone takes locks, sockets, threads."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    pool = w.pool(registry=registry)
    agent = pool.agent("col_a")
    agent.get("/users/me")

    def counted() -> float:
        lines = generate_latest(registry).decode().splitlines()
        found = next(line for line in lines if line.startswith("colony_pool_attempts_total") and '"ok"' in line)
        return float(found.rpartition(" ")[2])

    firsts: list[Any] = [
        agent.invalidate,
        pool.status,
        lambda: pool.breaker.open() and pool.breaker.close(),
        counted,
        lambda: pool.start_metrics_server(0),
        pool.close,
    ]

    def child(first: Any, *, closes: bool) -> None:
        first()
        assert counted() == 0.0, "what the parent has counted is not counted again"
        if not closes:
            _ask_as(pool, "child", 3)

    children = Children(w)
    for first in firsts:
        children.fork(lambda f=first: child(f, closes=f is firsts[-1]))  # type: ignore[misc]
    _ask_as(pool, "parent")
    assert children.end_well()
    assert counted() == 31.0


@scenario()
def g24_an_unannounced_child_shares_the_hosts_record_on_when_its_parent_has_left_it(w: World) -> None:
    os.environ["COLONY_POOL_STATE_DIR"] = tempfile.mkdtemp()
    pool = w.pool(shared="host")
    pool.agent("col_parent").token()
    read, write = os.pipe()

    def child() -> None:
        os.read(read, 1)
        _ask_as(pool, "child", 3)
        assert pool.status().shared is not None

    children = Children(w)
    children.fork(child)
    pool.close()
    os.write(write, b"x")
    assert children.end_well()
