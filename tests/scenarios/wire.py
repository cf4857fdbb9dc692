"""G11, G22: faults of a connection, from its first packet to its last. Each is one documented error."""

from __future__ import annotations

import _socket  # the C sockets: what a test holds open is no business of gevent's
import socket
from functools import partial
from typing import Any

from tests.support.private import metrics_of

from . import World, error_of, scenario
from ._after import assert_documented, assert_recovered, counted, key

RUNTIMES = ("threads", "gevent", "gevent-unpatched", "asyncio")
BODY = '{"access_token": "evil.evil.evil", "id": "evil", "expires_in": 3600}'
SIZE = len(BODY)


def _answer(*headers: str, body: str = BODY) -> str:
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", body])


def _raw(data: str, then: str = "close") -> tuple[str, dict[str, Any]]:
    return "raw", {"data": data, "then": then}


CHUNKED = "Transfer-Encoding: chunked"
HUGE = [f"X-{number}: {'x' * 4000}" for number in range(50)]
WHOLE = f"{SIZE:x}\r\n{BODY}\r\n0\r\n\r\n"
Fault = tuple[str, tuple[str, dict[str, Any]], str, str]
FAULTS: list[Fault] = [  # (what, behaviour, class of G11, words of the error)
    ("reset before the request", ("reset_handshake", {}), "network", "reset: "),
    ("silence from the start", ("silence", {}), "network", "timeout: "),
    ("silence after the request", ("hang", {}), "network", "timeout: "),
    ("reset after the request", ("reset", {}), "network", "reset: "),
    ("closed after the request", _raw(""), "network", "reset: "),
    ("reset in the headers", _raw("HTTP/1.1 200 OK\r\nContent-Le", "reset"), "network", "reset: "),
    ("closed in the headers", _raw("HTTP/1.1 200 OK\r\nContent-Le"), "network", "reset: "),
    ("closed between two headers", _raw("HTTP/1.1 200 OK\r\nServer: x\r\n"), "network", "reset: "),
    ("silence in the headers", _raw("HTTP/1.1 200 OK\r\nContent-Le", "hang"), "network", "timeout: "),
    ("reset in the body", _raw(_answer(f"Content-Length: {SIZE + 1}"), "reset"), "down", "HTTP 200, but"),
    ("closed in the body", _raw(_answer(f"Content-Length: {SIZE + 1}")), "down", "HTTP 200, but"),
    ("silence in the body", _raw(_answer(f"Content-Length: {SIZE + 1}"), "hang"), "network", "timeout: "),
    ("a length too short", _raw(_answer(f"Content-Length: {SIZE - 1}"), "keep"), "down", "HTTP 200, but"),
    ("a length beyond all bounds", _raw(_answer(f"Content-Length: {10**19}")), "down", "HTTP 200, but"),
    ("two lengths", _raw(_answer("Content-Length: 5", f"Content-Length: {SIZE}"), "keep"), "network", "not HTTP"),
    ("a line that is no header", _raw(_answer(f"Content-Length: {SIZE}", "no colon here")), "network", "not HTTP"),
    ("a name that ends in a space", _raw(_answer(f"Content-Length : {SIZE}"), "keep"), "network", "not HTTP"),
    ("a chunk that breaks off", _raw(_answer(CHUNKED, body=f"{SIZE + 9:x}\r\n{BODY}")), "down", "HTTP 200, but"),
    ("a chunk that is no number", _raw(_answer(CHUNKED, body=f"zz\r\n{BODY}\r\n0\r\n\r\n")), "down", "HTTP 200, but"),
    ("chunks without an end", _raw(_answer(CHUNKED, body=f"{SIZE:x}\r\n{BODY}\r\n")), "down", "HTTP 200, but"),
    ("a negative chunk", _raw(_answer(CHUNKED, body=f"-5\r\n{BODY}\r\n0\r\n\r\n")), "down", "HTTP 200, but"),
    ("a bomb in gzip", ("gzip_bomb", {}), "down", "HTTP 200, but"),
    ("something else than HTTP", _raw("SSH-2.0-OpenSSH_9.6\r\n", "hang"), "network", "not HTTP"),
    ("headers too big", _raw(_answer(f"Content-Length: {SIZE}", *HUGE)), "network", "not HTTP"),
    ("headers without an end", _raw("HTTP/1.1 200 OK\r\n" + "a: b\r\n" * 1000), "network", "not HTTP"),
]


def _pool(w: World, base_url: str | None = None, **options: Any) -> Any:
    """One attempt for each call, and not much time for it, but time for a slow machine."""
    from colony_pool import RetryConfig, Timeout

    once = RetryConfig(max_retries=0)
    timeout = Timeout(connect=1.0, read=1.0, total=1.5)
    return w.pool(base_url, auth_token_retry=once, retry=once, timeout=timeout, **options)


@scenario(*RUNTIMES)
def g11_interim_answers_and_odd_but_lawful_heads_are_understood(w: World) -> None:
    """RFC 9110 15.2 and RFC 9112 5.2, 6.3: any number of 1xx first, a folded line, the same length twice."""
    hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 7\r\n\r\n"
    lawful = [
        hints + _answer(f"Content-Length: {SIZE}"),
        _answer("X-Long: one", "\ttwo", f"CONTENT-LENGTH:{SIZE}"),
        _answer(f"Content-Length: {SIZE}", f"Content-Length: {SIZE}"),
        _answer(f"Content-Length: {SIZE}").replace("\r\n", "\n"),
    ]
    pool = _pool(w)
    for number, data in enumerate(lawful):
        w.colony.behave("raw", data=data, then="keep")
        assert pool.agent(key(number)).token() == "evil.evil.evil", data


@scenario(*RUNTIMES)
def g11_g22_each_fault_of_a_connection_is_one_documented_error(w: World) -> None:
    """Of a token request and of an API call, on connections that are new and on those that were in use before."""
    from colony_pool import ColonyNetworkError, ColonyServerError

    pool = _pool(w)
    warm = pool.agent(key("warm"))
    for number, (what, (name, options), kind, words) in enumerate(FAULTS):
        assert warm.get("/users/me").status == 200, what
        w.colony.behave(name, **options)
        before = metrics_of(pool).counters.count("attempts_total", kind)
        error_class = ColonyNetworkError if kind == "network" else ColonyServerError
        token, call = w.spawn(pool.agent(key(number)).token), w.spawn(lambda: warm.get("/users/me").json())
        assert_documented(token.join().error, error_class, words=words)
        assert_documented(call.join().error, error_class)
        w.until(partial(counted, pool, kind, before + 1), what)
        w.colony.behave("healthy")
        assert_recovered(w, pool)


@scenario(*RUNTIMES)
def g22_what_comes_behind_an_answer_is_nobodys_answer(w: World) -> None:
    """A second answer, sent along with the first, must not reach the next caller on that connection."""
    from colony_pool.testing import subject

    pool = _pool(w, maxsize=1)
    for number, headers in enumerate(([f"Content-Length: {SIZE}"], [CHUNKED], [CHUNKED, "Content-Length: 5"])):
        answer = _answer(*headers, body=WHOLE if CHUNKED in headers else BODY)
        w.colony.behave("raw", data=answer + _answer(f"Content-Length: {SIZE}"), then="keep")
        assert pool.agent(key(number)).token() == "evil.evil.evil", "it is the answer, as far as anybody can tell"
        w.colony.behave("healthy")
        mine = key(f"next_{number}")
        assert pool.agent(mine).get("/users/me").json()["id"] == subject(mine)
        w.colony.behave("raw", data=answer + _answer(f"Content-Length: {SIZE}"), then="keep")
        assert pool.agent(mine).get("/users/me").json()["id"] == "evil"
        w.colony.behave("healthy")
        assert pool.agent(mine).get("/users/me").json()["id"] == subject(mine)
    assert_recovered(w, pool)


@scenario(*RUNTIMES)
def g22_what_comes_behind_an_answer_that_fills_a_buffer_is_nobodys_answer(w: World) -> None:
    """The answer ends where a buffer on its way does, so that all of what is behind it waits elsewhere.

    On asyncio what is behind more than 64 KiB waits where httpx does not look.
    """
    from colony_pool.testing import subject

    pool = _pool(w, maxsize=1)
    pool.agent(key("a")).token()
    bare = len(_answer("Content-Length: 000000", body=""))
    for size in (8192, 16_384, *(() if w.kind == "asyncio" else (65_536, 131_072, 262_144))):
        body = BODY.ljust(size - bare)
        answer = _answer(f"Content-Length: {len(body):06d}", body=body)
        w.colony.behave("raw", data=answer + _answer(f"Content-Length: {SIZE}"), then="keep", only="/x")
        assert len(pool.agent(key("a")).get("/x").content) == len(body)
        mine = key(f"next_{size}")
        assert pool.agent(mine).get("/users/me").json()["id"] == subject(mine), size
    assert_recovered(w, pool)


class _BlackHole:
    """Takes a port whose SYNs are dropped from now on: the queue of its listener is full, and nobody accepts."""

    def __init__(self, port: int) -> None:
        self._held = [_socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(3)]
        listener, *fillers = self._held
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))

    def close(self) -> None:
        for sock in self._held:
            sock.close()


@scenario(*RUNTIMES)
def g4_a_black_hole_costs_each_attempt_its_connect_timeout(w: World) -> None:
    """Packets vanish: no refusal, no reset. First-hand callers are told; who is parked is served when it ends."""
    from colony_pool import BreakerConfig, ColonyNetworkError, RetryConfig, Timeout

    patient = RetryConfig(
        max_retries=50, base_delay=0.05, max_delay=0.2, retry_on=frozenset({502}), retry_network_errors=True
    )
    breaker = BreakerConfig(fail_max=4, open_delay=0.1, open_delay_max=0.3, min_failure_time=0.0)
    options: dict[str, Any] = {"timeout": Timeout(connect=0.3, read=1.0, total=1.5), "breaker": breaker}
    pool, parking = w.pool(**options), w.pool(auth_token_retry=patient, probe_timeout=0.4, **options)
    w.colony.stop_listening()
    hole = _BlackHole(w.colony.port)
    calls = [w.spawn(pool.agent(key(i)).token) for i in range(3)]
    parked = [w.spawn(lambda n=i: parking.agent(key(n)).token(max_wait=3600.0)) for i in range(20)]
    for call in calls:
        assert_documented(call.join().error, ColonyNetworkError, words="timeout: no connection in time")
    w.until(lambda: parking.status().breaker.state != "closed", "the breaker opens")
    w.until(lambda: metrics_of(parking).counters.count("breaker_probes_total") >= 2, "probes go on")
    hole.close()
    w.colony.start_listening()
    assert all(task.result() for task in parked)
    for each in (pool, parking):
        assert_recovered(w, each)


@scenario(*RUNTIMES)
def idle_connections_that_end_in_the_moment_of_their_reuse_cost_no_call(w: World) -> None:
    """Nothing shows it before a request is sent, and the next idle one is as dead as the first."""
    pool = w.pool(maxsize=4)
    agents = [pool.agent(key(i)) for i in range(4)]
    for agent in agents:
        agent.token()
    w.colony.latency(0.3)
    for task in [w.spawn(agent.get, "/users/me") for agent in agents]:
        task.result()
    w.colony.latency(0.0)
    assert w.sockets() > 1, "several are idle"
    w.colony.behave("close_reused")
    for number, agent in enumerate(agents):
        assert agent.post("/echo", json=1).status == 200
        assert pool.agent(key(f"cold{number}")).token()
    w.colony.behave("healthy")
    assert_recovered(w, pool)


@scenario(*RUNTIMES)
def idle_connections_that_the_server_closes_cost_no_call(w: World) -> None:
    """At any moment around their reuse: at rest, with a request on its way, and with one half answered."""
    pool = w.pool(maxsize=4)
    agents = [pool.agent(key(i)) for i in range(8)]
    for agent in agents:
        agent.token()
    w.colony.behave("close_idle", seconds=0.002)

    def calls(number: int) -> int:
        for turn in range(25):
            assert agents[number].get("/users/me").status == 200
            assert agents[number].post("/echo", json=turn).status == 200
            w.pause(0.0005 * (turn % 9))
        agents[number].invalidate()
        return len(agents[number].token())

    assert all(task.result() for task in [w.spawn(calls, i) for i in range(8)])
    w.until(lambda: w.colony.stats().open_connections == 0, "the server has closed them all")
    before = w.colony.stats().connections
    assert agents[0].get("/users/me").status == 200
    assert w.colony.stats().connections > before
    w.colony.behave("healthy")
    assert_recovered(w, pool)


@scenario(*RUNTIMES)
def network_faults_of_a_call_that_may_not_be_repeated_are_told(w: World) -> None:
    """G25: the request may have been carried out, so it is not sent again, and its caller hears of it."""
    from colony_pool import ColonyNetworkError

    pool = _pool(w)
    agent = pool.agent(key("one"))
    for method in ("DELETE", "PATCH"):
        assert agent.get("/users/me").status == 200
        w.colony.behave("reset", only="/thing")
        before = w.colony.count("/thing")
        assert_documented(error_of(agent.request, method, "/thing"), ColonyNetworkError, words=method)
        assert w.colony.count("/thing") == before + 1
    w.colony.behave("healthy")
    assert_recovered(w, pool)
