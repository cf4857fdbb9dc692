"""Connections and slots of event loops: whatever ends in the middle of whatever, they come back."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.conftest import until as at_last
from tests.support.aio import fast, nothing_is_left, sockets, until
from tests.support.private import (
    AttemptTransport,
    LoopClient,
    ThreadSafeWeakSet,
    agent_behind,
    clients_of,
    engine_behind,
    engine_of,
    state_of,
)


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


def knowing(agent: cp.AsyncAgent) -> cp.AsyncAgent:
    """The handle with a token that never came over the wire."""
    state = state_of(agent_behind(agent))
    state.jwt, state.fresh_until = "a.b.c", float("inf")
    return agent


def test_g3_a_call_cancelled_in_the_middle_of_a_handshake_leaves_no_socket(colony: FakeColony) -> None:
    """Not even until the next garbage collection."""
    colony.behave("silence")

    async def main() -> None:
        url = colony.base_url.replace("http:", "https:")
        async with cp.AsyncColonyPool(url, token_cache=None, registry=None) as pool:
            agent = knowing(pool.agent("col_a"))
            before = sockets()
            call = asyncio.create_task(agent.get("/users/me"))
            await until(lambda: sockets() > before, "it is on its way")
            await until(lambda: engine_of(pool.pool).transport.opened() == 1)
            call.cancel()
            await until(lambda: nothing_is_left(pool) and before == sockets())

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def transport_of(view: cp.AsyncColonyPool) -> AttemptTransport:
    """The one of the loop that runs here."""
    transport: AttemptTransport = clients_of(view).here().transport
    return transport


class DeafProxy:
    """Connects whoever asks, to something that speaks no TLS."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if not connection.recv(65_536):
                    return
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                connection.recv(65_536)
                connection.sendall(b"220 what is that?\r\n")

    def close(self) -> None:
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


def test_handshakes_that_fail_behind_a_proxy_use_up_no_connections() -> None:
    async def main(url: str) -> None:
        options: dict[str, Any] = {"proxy": url, "maxsize": 2, "timeout": cp.Timeout(total=5.0)}
        async with cp.AsyncColonyPool("https://api.invalid", token_cache=None, registry=None, **options) as pool:
            agent = knowing(pool.agent("col_a"))
            for _ in range(4):
                with pytest.raises(cp.ColonyNetworkError, match="tls: "):
                    await agent.get("/users/me")

    proxy = DeafProxy()
    try:
        asyncio.run(main(proxy.url))
    finally:
        proxy.close()


def test_g3_connections_that_are_being_closed_are_closed_whoever_is_cancelled(colony: FakeColony) -> None:
    """It is the last request of retired ones that closes them, and its caller may be gone for a second just then."""

    async def main() -> None:
        async with fast(colony) as pool:
            agent = pool.agent("col_a")
            colony.behave("latency", seconds=0.5, only="/users/me")  # or one connection is enough for two of them
            await asyncio.gather(*(agent.get("/users/me") for _ in range(4)))
            colony.behave("healthy")
            transport, before = transport_of(pool), sockets()
            connections = transport._connections
            close, begun = connections.transport.aclose, asyncio.Event()

            async def watched() -> None:
                begun.set()
                await close()

            connections.transport.aclose = watched  # type: ignore[method-assign]
            request = asyncio.create_task(agent.get("/users/me"))
            while not connections.users:
                await asyncio.sleep(0)
            transport._retire(connections)
            (at_work,) = transport._at_work
            await begun.wait()
            at_work.cancel()
            await asyncio.wait({request})
            await until(lambda: len(sockets()) <= len(before) - 4)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_g26_a_call_that_waits_for_a_slot_hears_of_the_end_of_its_view(colony: FakeColony) -> None:
    """The slots are others', who go on."""
    options: dict[str, Any] = {"maxsize": 1, "timeout": cp.Timeout(total=10.0)}
    with cp.ColonyPool(colony.base_url, token_cache=None, registry=None, **options) as pool:
        pool.agent("col_a").token()
        answers: list[Any] = []
        other = threading.Thread(target=lambda: answers.append(pool.agent("col_a").get("/users/me")))

        async def main() -> None:
            view = cp.AsyncColonyPool(pool=pool)
            await until(lambda: engine_of(pool).network.bulkhead.in_use == 1)
            call = asyncio.create_task(view.agent("col_a").get("/users/me"))
            await until(lambda: engine_of(pool).network.bulkhead.waiting == 1)
            await view.close()
            with pytest.raises(cp.PoolClosedError):
                await call
            assert 0 == engine_of(pool).network.bulkhead.waiting

        colony.pause()
        try:
            other.start()
            asyncio.run(main())
            assert other.is_alive()
        finally:
            colony.resume()
            other.join()
        assert [200] == [answer.status for answer in answers]


def test_g3_slots_of_a_loop_that_was_closed_with_calls_under_way_come_back(colony: FakeColony) -> None:
    """Those that it had, and those that it would get. asyncio warns of what such a loop leaves open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _close_with_calls_under_way(colony)
        gc.collect()


def _close_with_calls_under_way(colony: FakeColony) -> None:
    view = fast(colony, maxsize=3)  # one is for tokens alone
    view.pool.agent("col_a").token()
    colony.behave("hang", only="/users/me")
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(view.agent("col_a").get("/users/me")) for _ in range(4)]
    loop.run_until_complete(until(lambda: colony.stats().in_flight == 2))
    loop.close()
    colony.behave("healthy")
    assert 200 == view.pool.agent("col_a").get("/users/me").status
    assert 200 == asyncio.run(view.agent("col_a").get("/users/me")).status
    assert 0 == engine_of(view.pool).network.bulkhead.in_use == engine_of(view.pool).network.bulkhead.waiting
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it is what this test does
    tasks.clear()
    del task
    at_last(lambda: gc.collect() >= 0 and nothing_is_left(view))
    view.pool.close()


def test_g26_a_loop_at_rest_goes_on_after_the_pool_was_closed(colony: FakeColony) -> None:
    """Its connections are given up at once; their descriptors are the loop's, which else trips over their numbers."""
    loop = asyncio.new_event_loop()
    view = fast(colony)

    async def calls() -> None:
        await asyncio.gather(*(view.agent("col_a").get("/users/me") for _ in range(5)))

    async def somebody_elses() -> None:
        connections = [await asyncio.open_connection("127.0.0.1", colony.port) for _ in range(10)]
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()

    colony.stats()  # that the way to the server's control is open
    before = sockets()
    loop.run_until_complete(calls())
    view.pool.close()
    at_last(lambda: colony.stats().open_connections == 0)
    loop.run_until_complete(somebody_elses())
    loop.run_until_complete(until(lambda: len(sockets()) <= len(before)))
    loop.close()


def test_two_loops_that_clear_up_behind_others_at_once(colony: FakeColony, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread has done it while this one was at it."""
    view = fast(colony)
    clients = clients_of(view)
    old, kept = [asyncio.new_event_loop() for _ in range(3)], list[LoopClient]()
    for loop in old:
        loop.close()
        kept.append(client := LoopClient(view.pool, engine_behind(view).waiting, loop, clients.retire_closed))
        clients._all.add(client)

    def another_thread(_: AttemptTransport) -> None:
        for one in kept:
            clients._all.discard(one)

    monkeypatch.setattr(AttemptTransport, "abandon", another_thread)

    async def main() -> None:
        async with view:
            assert 200 == (await view.agent("col_a").get("/users/me")).status

    asyncio.run(main())


def test_what_is_known_may_be_listed_while_others_add_to_it() -> None:
    """Between any two steps."""

    class Thing:
        pass

    known, kept = ThreadSafeWeakSet[Thing](), [Thing()]
    known.add(kept[0])

    def another(*_: object) -> Any:
        kept.append(Thing())
        known.add(kept[-1])
        return another

    sys.settrace(another)
    try:
        found = known.all()
    finally:
        sys.settrace(None)
    assert kept[0] in found
    assert len(kept) > 2
    assert len(kept) == len(known)


def test_without_an_asyncio_loop_the_error_says_so(colony: FakeColony) -> None:
    """Under trio, say, whose loop is none of asyncio's."""
    view = fast(colony)
    for what in (view.agent("col_a").token(), view.__aenter__(), view.close()):
        with pytest.raises(RuntimeError, match=r"no asyncio event loop runs here.*ColonyPool"):
            what.send(None)
    assert view.pool.agent("col_a").token(), "nothing has been closed"
    assert asyncio.run(view.agent("col_b").token())
    asyncio.run(view.close())
