"""G24: what a forked child is not left with: its parent's port, idle sockets, counts, and copied requests."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import World, scenario
from .forks import _ask_as, _child, _ended_well
from .unannounced import Children


def _handles() -> set[str]:
    """The sockets that this process has open, as the system names them."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return {name for name in found if name.startswith("socket:")}


def _attempts(registry: Any) -> float:
    return float(registry.get_sample_value("colony_pool_attempts_total", {"pool": "p", "outcome": "ok"}) or 0.0)


def _restarts_on_the_port_of_a_parent_that_has_ended(w: World, fork: Callable[[Callable[[], None]], Any]) -> Any:
    from prometheus_client import CollectorRegistry

    pool = w.pool(registry=CollectorRegistry())
    port = pool.start_metrics_server(0)
    reader, writer = os.pipe()
    ready, say = os.pipe()

    def child() -> None:
        pool.status()
        os.write(say, b"x")
        os.read(reader, 1)

    forked = fork(child)
    os.read(ready, 1)
    pool.close()
    again = w.pool(registry=CollectorRegistry())
    assert again.start_metrics_server(port) == port
    os.write(writer, b"x")
    return forked


@scenario("threads", "gevent", "gevent-late", "gevent-unpatched")
def g24_a_child_keeps_no_metrics_port(w: World) -> None:
    assert _ended_well(w, _restarts_on_the_port_of_a_parent_that_has_ended(w, _child))


@scenario("threads", "gevent", "gevent-late", "gevent-unpatched")
def g24_an_unannounced_child_keeps_no_metrics_port(w: World) -> None:
    children = Children(w)
    _restarts_on_the_port_of_a_parent_that_has_ended(w, children.fork)
    assert children.end_well()


@scenario("threads", "gevent", "gevent-late", "gevent-unpatched")
def g24_a_child_is_left_with_no_idle_socket_for_a_moment(w: World) -> None:
    before = _handles()
    pool = w.pool()
    for i in range(4):
        pool.agent(f"col_{i}").get("/users/me")
    parents = _handles() - before
    assert parents

    def child() -> None:
        assert not parents & _handles()

    assert _ended_well(w, _child(child))


@scenario("gevent", "gevent-late")
def g15_g24_a_greenlet_that_a_fork_copies_as_it_waits_for_a_slot_sends_nothing(w: World) -> None:
    """Neither its one-time code nor its deed is sent twice, and the copy's call ends."""
    from colony_pool.testing import subject

    pool = w.pool(maxsize=2)
    hogs = [pool.agent(f"col_hog_{i}") for i in range(2)]
    for hog in hogs:
        hog.token()
    w.colony.behave("hang", only="/users/me")
    ended: list[int] = []

    def deed() -> None:
        try:
            hogs[0].delete("/posts/1")
        finally:
            ended.append(os.getpid())

    for hog in hogs:
        w.spawn(lambda hog=hog: hog.get("/users/me", timeout=3.0))
    w.until(lambda: w.colony.stats().in_flight >= 1, "slots are taken")
    coded = w.spawn(pool.agent("col_code", totp=lambda: "111111").token)
    deeds = w.spawn(deed)
    w.pause(0.1)
    pid = _child(lambda: w.until(lambda: os.getpid() in ended, "the copy's call ends"))
    child_ended = w.spawn(lambda: _ended_well(w, pid))
    coded.join()
    deeds.join()
    assert child_ended.result()
    deletes = [request for request in w.colony.requests() if request.method == "DELETE"]
    codes = [request for request in w.token_requests() if request.agent == subject("col_code")]
    assert (len(deletes), len(codes)) == (1, 1)


@scenario("threads", "gevent-unpatched")
def g24_a_fork_in_the_middle_of_a_close_counts_nothing_twice(w: World) -> None:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    pool = w.pool(registry=registry, name="p")
    _ask_as(pool, "parent", 5)
    w.colony.behave("hang")
    asks = w.spawn(pool.agent("col_slow").token)
    w.until(lambda: w.colony.stats().in_flight == 1, "an attempt is out")
    closes = w.spawn(pool.close)
    w.until(lambda: pool.status().closed, "it is being closed")

    def child() -> None:
        assert _attempts(registry) == 0.0

    assert _ended_well(w, _child(child))
    closes.join()
    asks.join()
    assert _attempts(registry) == 5.0
