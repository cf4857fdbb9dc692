"""G24: a forked child shares no socket, no lock, no waiter with its parent."""

from __future__ import annotations

import _socket  # the C sockets: a relay is native, whatever gevent has patched
import contextlib
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from tests.support.addresses import Names, entry, silent
from tests.support.private import engine_of, metrics_of

from . import World, scenario
from .tls import Authority


def _child(body: Callable[[], None]) -> int:
    """Fork; run ``body`` in the child, which ends with 0 if it holds."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        body()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _ended_well(w: World, *children: int) -> bool:
    """Wait for the children without blocking anybody else here."""
    left = set(children)
    good: list[bool] = []

    def all_over() -> bool:
        for pid in list(left):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                left.discard(pid)
                good.append(status == 0)
        return not left

    w.until(all_over, "the children end")
    return all(good)


def _ask_as(pool: Any, who: str, times: int = 30) -> None:
    from colony_pool.testing import subject

    for i in range(times):
        key = f"col_{who}_{i}"
        assert pool.agent(key).get("/users/me").json()["id"] == subject(key), "somebody else's answer"


@scenario()
def g24_forked_workers_never_see_each_others_answers(w: World) -> None:
    pool = w.pool()
    parents = pool.agent("col_parent")
    before = parents.token()
    for task in [w.spawn(parents.get, "/users/me") for _ in range(4)]:  # warm connections
        task.result()
    assert w.sockets() > 0

    def child(number: int) -> None:
        assert parents.token() == before, "the child keeps its tokens"
        _ask_as(pool, f"child_{number}")

    children = [_child(lambda n=number: child(n)) for number in range(2)]  # type: ignore[misc]
    _ask_as(pool, "parent")
    assert _ended_well(w, *children)


@scenario()
def g24_a_fork_in_the_middle_of_other_tasks_requests(w: World) -> None:
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
        assert status.breaker.state == "closed"
        _ask_as(pool, "child", 3)

    children = [_child(child) for _ in range(2)]
    for i, call in enumerate(calls):
        assert call.result().json()["id"] == subject(f"col_{i}")
    assert all(task.result() for task in cold)
    w.colony.latency(0.0)
    assert _ended_well(w, *children)
    assert pool.status().breaker.failures == 0, "the parent has noticed nothing"


@scenario()
def g24_a_fork_during_an_outage_leaves_waiters_and_probes_to_the_parent(w: World) -> None:
    pool = w.fast()
    w.colony.behave("status", status=502)
    tasks = [w.spawn(lambda k=f"col_{i}": pool.agent(k).token(max_wait=3600.0)) for i in range(30)]
    w.until(lambda: pool.status().breaker.state != "closed", "the breaker opens")

    def child() -> None:
        before = metrics_of(pool).counters.count("attempts_total")
        for _ in range(3):
            w.pause(0.1)  # time for a timer or a greenlet that was copied along to show itself
        assert metrics_of(pool).counters.count("attempts_total") == before, "the child asks nothing on its own"
        assert pool.status().breaker.state == "closed"
        assert pool.status().waiters == 0

    pid = _child(child)
    assert _ended_well(w, pid)
    w.colony.behave("healthy")
    assert all(task.result() for task in tasks)


def _is_the_parents_alone(w: World, silent_hosts: tuple[str, ...]) -> None:
    """Fork while a token is asked for at a host with these addresses, and one that answers late."""
    heard: list[bytes] = []

    def answer(line: socket.socket) -> None:
        with line:
            while data := line.recv(65_536):
                heard.append(data)
                if b"POST" in data:
                    body = b'{"access_token": "parents", "expires_in": 3600}'
                    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def serve() -> None:
        while True:
            w.spawn(answer, server.accept()[0])

    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as crowd:
        port = server.getsockname()[1]
        for _ in range(4):  # they fill its queue: a connection is not made before somebody takes one out
            other = crowd.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        dead = crowd.enter_context(silent(port, *silent_hosts))
        names = crowd.enter_context(Names(*dead, entry("127.0.0.1", port)))
        pool = w.pool(names.url(port), allow_insecure=True)
        parents: Any = engine_of(pool).runtime
        known = engine_of(pool).network._pools._known
        asks = w.spawn(pool.agent("col_a").token)
        number = len(silent_hosts) + 1
        w.until(
            lambda: any(conn.dial is not None and len(conn.dial.sockets) == number for conn in known),
            "a connection is being made, at each address",
        )
        copied = list(parents._greenlets)
        pid = _child(lambda: w.until(lambda: all(one.dead for one in copied), "what was copied along ends"))
        serving = w.spawn(serve)
        assert (asks.result(), _ended_well(w, pid)) == ("parents", True)
        serving.kill()
        assert b"".join(heard).count(b"POST") == 1


@scenario("gevent", "gevent-late")
def g24_a_connection_that_is_being_made_at_a_fork_is_the_parents_alone(w: World) -> None:
    """The greenlet that makes it goes on in the child, too, and must not speak on it."""
    _is_the_parents_alone(w, ())


@scenario("gevent", "gevent-late")
def g24_connections_that_race_at_a_fork_are_the_parents_alone(w: World) -> None:
    _is_the_parents_alone(w, ("127.0.0.2", "127.0.0.3"))


class _Relay:
    """Stands between a client and a server, in a native thread; passes nothing on before it is told to."""

    def __init__(self, w: World, port: int) -> None:
        self._server = _socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(1)
        self.port = self._server.getsockname()[1]
        self._reader, self._writer = os.pipe()
        self.has_begun = False
        self.has_ended = w.native(lambda: self._serve(port))

    def go_on(self) -> None:
        os.write(self._writer, b"x")

    def _serve(self, port: int) -> None:
        number, _ = self._server._accept()  # type: ignore[attr-defined] # all that a C socket has
        client, server = _socket.socket(fileno=number), _socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._server.close()
        client.setblocking(True)
        first = client.recv(65_536)
        self.has_begun = True
        os.read(self._reader, 1)
        server.connect(("127.0.0.1", port))
        server.sendall(first)
        poll = _native("select", "select")
        while True:
            for ready in poll([client, server], [], [])[0]:
                data = ready.recv(65_536)
                if not data:
                    client.close()
                    server.close()
                    return
                (server if ready is client else client).sendall(data)


def _native(module: str, name: str) -> Any:
    from gevent.monkey import get_original

    return get_original(module, name)


@scenario("gevent", "gevent-late")
def g24_a_handshake_that_is_under_way_at_a_fork_is_the_parents_alone(w: World) -> None:
    """The greenlet that makes it goes on in the child, too, and must not read what the server says to the parent."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        server = w.other_colony(tls=authority.issue("server", "localhost"))
        relay = _Relay(w, server.port)
        pool = w.pool(f"https://localhost:{relay.port}/api/v1", ca_certs=authority.root)
        asks = w.spawn(pool.agent("col_a").token)
        w.until(lambda: relay.has_begun, "the client has said hello")

        runtime: Any = engine_of(pool).runtime
        copied = list(runtime._greenlets)

        def child() -> None:
            relay.go_on()
            w.until(lambda: all(one.dead for one in copied), "what was copied along ends")

        pid = _child(child)
        assert _native("os", "waitpid")(pid, 0)[1] == 0, "it has had its chance before the parent's hub goes on"
        assert asks.result()
        pool.close()
        w.until(relay.has_ended)
