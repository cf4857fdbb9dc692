"""API calls over httpx: one ``httpx.AsyncClient`` for each event loop, slots of the pool's bulkhead for all.

``AgentAuth`` puts the token on each request and answers a 401; ``AttemptTransport`` beneath it makes one attempt,
with a slot and a deadline, and reads the whole answer. So nobody has a slot while it waits for a token.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from urllib.parse import urlsplit

import httpx

from .._http.api import ApiRequest, Sent, scrubbed
from .._http.connection_health import is_failure
from .._http.failures import BadReply, NetworkFailure
from .._http.transport import checked
from .._weakset import ThreadSafeWeakSet
from ..agent import state_of
from ..pool import ColonyPool, engines_of
from .agent import AsyncAgent, agent_behind
from .attempt import ANSWER, CALL, CLOSE_WITHIN, SINCE, AttemptTransport
from .auth import AgentAuth
from .loop_event import LoopEvent, WaitingTasks, running_loop

__all__ = ["LoopClient", "LoopClients"]

_LAST_DOT = re.compile(r"\.+(?=(:\d*)?$)")


class _OfThread(threading.local):
    """The clients of the loops that one thread runs. They end with the thread, and the loops that nobody closed."""

    def __init__(self) -> None:
        self.clients: dict[asyncio.AbstractEventLoop, LoopClient] = {}


class LoopClients:
    """The clients of all loops that use one ``AsyncColonyPool``."""

    def __init__(self, pool: ColonyPool, waiting: WaitingTasks) -> None:
        self._pool = pool
        self._waiting = waiting
        self._mine = _OfThread()  # keeps the clients alive
        self._all: ThreadSafeWeakSet[LoopClient] = ThreadSafeWeakSet()

    def __len__(self) -> int:
        return len(self._all)

    def here(self) -> LoopClient:
        """The client of the loop that runs here."""
        loop = running_loop()
        client = self._mine.clients.get(loop)
        if client is None:
            self.retire_closed()
            client = self._mine.clients[loop] = LoopClient(self._pool, self._waiting, loop, self.retire_closed)
            self._all.add(client)
            engines_of(self._pool).current.network.beside.add(self)
        return client

    def idle(self) -> int:
        """Connections of all loops that no request has."""
        return sum(client.transport.idle() for client in self._all.all())

    def retire(self) -> None:
        """Have each loop close its idle connections, and the others when their requests end. Any thread."""
        for client in self._all.all():
            with suppress(RuntimeError):  # its loop is closed
                client.loop.call_soon_threadsafe(client.transport.retire)

    def retire_closed(self) -> None:
        """Let go of what loops have left that are closed: their slots come back. Any thread, several at once."""
        for client in self._all.all():
            if client.loop.is_closed():
                client.transport.abandon()
                self._forget(client)

    def end(self) -> None:
        """The pool has closed: each loop closes its own connections, as soon as it gets to it. Any thread."""
        self._waiting.end()  # first: a call that goes on must not meet a client that is closed
        for client in self._all.all():
            client.end()
            if not client.loop.is_running():
                self._forget(client)  # it may never run again: nothing of it is kept for that

    async def close(self) -> None:
        """Close all clients, within a second."""
        clients = self._all.all()
        events = []
        for client in clients:
            events.append(event := LoopEvent())
            client.end(event)
        for event in events:
            await event.wait(2 * CLOSE_WITHIN)
        for client in clients:
            self._forget(client)

    def after_fork(self) -> None:
        """In a forked child: give up the parent's descriptors without a word on them."""
        for client in self._all.all():
            client.transport.give_up()
        self._mine, self._all = _OfThread(), ThreadSafeWeakSet()

    def _forget(self, client: LoopClient) -> None:
        """Know it no longer. A client of another thread ends with that thread, at the latest."""
        self._all.discard(client)
        self._mine.clients.pop(client.loop, None)


class LoopClient:
    """The ``httpx.AsyncClient`` of one event loop."""

    def __init__(
        self,
        pool: ColonyPool,
        waiting: WaitingTasks,
        loop: asyncio.AbstractEventLoop,
        retire_closed: Callable[[], object],
    ) -> None:
        self.loop = loop
        self.transport = AttemptTransport(pool, waiting, loop, retire_closed)
        url = urlsplit(pool.base_url)
        self._base_path = url.path
        # httpx would seek a dot at the end of the name in the certificate, too, which has none.
        self._origin = httpx.URL(f"{url.scheme}://{_LAST_DOT.sub('', url.netloc)}")
        self._http = httpx.AsyncClient(
            transport=self.transport,
            headers=dict(engines_of(pool).current.network.always),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # agents must not share any
            trust_env=False,
            follow_redirects=False,
        )
        self._ending: asyncio.Task[None] | None = None

    async def send(self, call: ApiRequest, agent: AsyncAgent) -> Sent:
        """Send ``call`` with a token of ``agent``, once, or again as long as a 401 asks for that.

        A failure is returned, so that no exception has it, and its frames, as context.
        """
        checked(call.headers)
        url = self._origin.copy_with(raw_path=(self._base_path + call.target).encode())
        last_failure = state_of(agent_behind(agent)).last_failure
        request = self._http.build_request(
            call.method, url, headers=call.headers, content=call.body,
            extensions={CALL: call, SINCE: last_failure.since if call.repeatable else math.inf},
        )  # fmt: skip
        try:
            response = await self._http.send(request, auth=AgentAuth(agent, call.max_wait))
        except (NetworkFailure, BadReply) as problem:
            last_failure.note(monotonic(), failed=is_failure(problem))
            return problem.with_traceback(None)
        reply = response.extensions[ANSWER]
        last_failure.note(monotonic(), failed=is_failure(reply))
        return scrubbed(reply, response.request.headers["Authorization"].removeprefix("Bearer "))

    def end(self, event: LoopEvent | None = None) -> None:
        """Close the connections; what is at work has a second to end. Any thread."""
        try:
            self.loop.call_soon_threadsafe(self._begin_to_end, event)
        except RuntimeError:
            self.transport.abandon()
        if self.loop.is_running():
            return
        self.transport.hang_up()
        if event is not None:
            event.set()

    def _begin_to_end(self, event: LoopEvent | None) -> None:
        if self._ending is None:
            self._ending = self.loop.create_task(self._http.aclose())
        if event is not None:
            self._ending.add_done_callback(lambda _: event.set())
