"""``AsyncAgent``: one API key for tasks of event loops.

Its slow path decides and blocks no more than the hot one: whatever may block (the cache on disk, what the
dispatcher wants done, and the listeners that hear of it) is done by tasks of the pool's runtime. The caller awaits an
event.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .._core.failure import closed
from .._core.flight import Waiter
from .._driver.tokens import recheck_after, result_or_raise
from .._fork import notice_fork
from .._http.api import ApiRequest, Response, Sent, prepare
from ..agent import Agent, engines_behind, state_of
from ..pool import ColonyPool
from .loop_event import LoopEvent, WaitingTasks, off_loop

if TYPE_CHECKING:
    from typing_extensions import Unpack  # type checkers have it; nobody else reads the annotation

    from .._http.api import RequestOptions

__all__ = ["AsyncAgent"]

T = TypeVar("T")


class Sender(Protocol):
    """What makes the API calls of one event loop."""

    async def send(self, call: ApiRequest, agent: AsyncAgent) -> Sent:
        """Send ``call`` once, with a token of ``agent``, and again as long as a 401 asks for that."""
        ...


class AgentEngine(Protocol):
    """What an ``AsyncAgent`` asks of the ``AsyncEngine`` behind it."""

    pool: ColonyPool
    waiting: WaitingTasks

    def check_open(self) -> None:
        """Raise ``PoolClosedError`` unless it is open."""

    def sender(self) -> Sender:
        """What makes the API calls of the loop that runs here. Raises ``ImportError`` without httpx."""
        ...


class AsyncAgent:
    """A handle on one API key; made by ``AsyncColonyPool.agent``; shared by tasks, and by several event loops."""

    __slots__ = ("__weakref__", "_agent", "_engine", "_forgetting", "_monotonic", "_state")

    def __init__(self, engine: AgentEngine, agent: Agent) -> None:
        self._engine = engine
        self._agent = agent
        self._state = state_of(agent)
        self._monotonic = engines_behind(agent).current.runtime.monotonic
        self._forgetting: Future[None] | None = None

    def __repr__(self) -> str:
        return f"<AsyncAgent of {self._engine.pool!r}>"

    async def token(self, *, max_wait: float | None = None) -> str:
        """Return a valid JWT, as ``Agent.token`` does; a cached one without giving way to other tasks.

        Arguments:
            max_wait: seconds for which this call may be parked. Default: the pool's.
        """
        state = self._state
        if self._monotonic() < state.fresh_until:
            return state.jwt
        return await self._renew(max_wait)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        max_wait: float | None = None,
    ) -> Response:
        """Make an authenticated API call, as ``Agent.request`` does.

        Raises:
            ColonyAPIError: or one of its subclasses, by status.
            ImportError: httpx is not installed.
        """
        self._engine.check_open()
        call = prepare(
            method, path, json=json, params=params, headers=headers, idempotency_key=idempotency_key, timeout=timeout,
            max_wait=max_wait,
        )  # fmt: skip
        sender, api = self._engine.sender(), engines_behind(self._agent).ready().api
        tried = 0
        while True:
            answer = api.judge(call, await sender.send(call, self), tried)
            if isinstance(answer, Response):
                return answer
            tried += 1
            if await self._engine.waiting.pause(answer):
                raise closed().exception()

    async def get(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("GET", path, ...)``."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("POST", path, ...)``."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("PUT", path, ...)``."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("PATCH", path, ...)``."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """``request("DELETE", path, ...)``."""
        return await self.request("DELETE", path, **options)

    async def invalidate(self) -> None:
        """Forget the token, on disk too, and that the key was refused: the next call asks the server."""
        await run_off_loop(self, self._agent.invalidate)

    async def _renew(self, max_wait: float | None) -> str:
        self._engine.check_open()
        engine, state = engines_behind(self._agent).ready(), self._state
        driver, tokens = engine.driver, engine.tokens
        seconds = tokens.effective_max_wait(max_wait)
        jwt = tokens.from_memory(state, driver.submit_async)
        if jwt is not None:
            return jwt
        waiter, event = Waiter(state.account, seconds), LoopEvent()
        found: list[str] = []

        def ask() -> None:
            """In a task of the runtime's: the disk may block."""
            if not waiter.done and (jwt := tokens.from_memory(state, driver.submit) or tokens.from_disk(state)):
                found.append(jwt)
                event.set()
            else:  # whoever was cancelled meanwhile asks for nothing
                tokens.request(state, waiter, event, engine.runtime.external_context())

        def check() -> None:
            if waiter.done:  # its wake-up got lost
                event.set()
            else:
                driver.submit_async(engine.dispatcher.tick)

        checking = asyncio.get_running_loop().call_later(recheck_after(seconds), check)
        try:
            driver.executor.submit(ask)
            await self._engine.waiting.wait(event)
        finally:
            checking.cancel()
            left = not waiter.done  # before the dispatcher hears of it, which makes it done without an answer
            if left:
                driver.cancel(waiter, driver.submit_async)
        if found:
            return found[0]
        if left:  # woken by the end of the pool
            raise closed().exception()
        return result_or_raise(waiter)


# -- for the other modules of this library ----------------------------------------------------------------


def agent_behind(agent: AsyncAgent) -> Agent:
    """The handle on the same key for threads and greenlets."""
    return agent._agent


def waiting_of(agent: AsyncAgent) -> WaitingTasks:
    """The events that tasks wait for with ``agent``."""
    return agent._engine.waiting


async def run_off_loop(agent: AsyncAgent, fn: Callable[..., T], *args: Any) -> T:
    """Run ``fn(*args)``, which may block, in a task of the runtime behind ``agent``."""
    notice_fork()
    return await off_loop(engines_behind(agent._agent).current.driver.executor, fn, *args)


def invalidate_soon(agent: AsyncAgent) -> None:
    """As ``AsyncAgent.invalidate``, for who cannot await it; ``invalidated`` waits until it has been done."""
    notice_fork()
    agent._forgetting = done = Future[None]()

    def forget() -> None:
        try:
            agent._agent.invalidate()
        finally:
            done.set_result(None)

    engines_behind(agent._agent).current.driver.executor.submit(forget)


async def invalidated(agent: AsyncAgent) -> None:
    """Wait for what ``invalidate_soon`` has begun, if anything."""
    forgetting = agent._forgetting
    if forgetting is not None:
        await asyncio.shield(asyncio.wrap_future(forgetting))  # others wait for it, too
        agent._forgetting = None if agent._forgetting is forgetting else agent._forgetting


def let_expire(agent: AsyncAgent) -> None:
    """The pool is closed: ``agent`` has no fresh token any more."""
    agent._monotonic = lambda: math.inf
