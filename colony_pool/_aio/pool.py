"""``AsyncColonyPool``: a ``ColonyPool`` as tasks of event loops use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.failure import closed
from .._shell.credential import Totp
from .._shell.fork import notice_fork, renew_in_children
from .._shell.handles import Handles
from .._weakset import ThreadSafeWeakSet
from ..pool import ColonyPool
from ..status import PoolStatus
from .agent import AsyncAgent
from .door import Doors
from .flag import LoopFlag, off_loop, running_loop
from .totp import Ask, LoopTotp

if TYPE_CHECKING:
    import pybreaker
    from typing_extensions import Unpack  # type checkers have it; nobody else reads the annotation

    from .options import PoolOptions

__all__ = ["AsyncColonyPool"]

AsyncTotp = str | Ask | None


class AsyncColonyPool:
    """One guarded door to The Colony for tasks of any number of event loops, and for threads and greenlets beside.

    Arguments:
        base_url: as ``ColonyPool`` has it.
        pool: a pool that others use already: its desk is shared, and it is left open by ``close``.
        options: those of ``ColonyPool``, with its defaults, if there is no ``pool``.

    ``pool`` is the ``ColonyPool`` behind it: give it to threads and greenlets.
    """

    def __init__(
        self, base_url: str | None = None, *, pool: ColonyPool | None = None, **options: Unpack[PoolOptions]
    ) -> None:
        if pool is not None and (base_url is not None or options):
            raise ValueError("pool: has its own base_url and options; give either it or them")
        runtime = pool._runtime if pool is not None else options.get("runtime")
        if getattr(runtime, "name", "") == "sim":
            raise ValueError("runtime: an event loop waits in real time; a simulation plays ColonyPool alone")
        self._owns_pool = pool is None
        self.pool = pool if pool is not None else ColonyPool(base_url, **options)
        self._agents: Handles[AsyncAgent] = Handles(lambda agent: agent._agent._is_of_use())
        self._parked: ThreadSafeWeakSet[LoopFlag] = ThreadSafeWeakSet()  # a task that is lost is not kept alive
        self._doors = Doors(self.pool)
        self._closed = False
        self._is_over = False  # nothing is left to close
        self.pool._at_close.add(self._doors)
        renew_in_children(self)

    async def __aenter__(self) -> AsyncColonyPool:
        running_loop()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncColonyPool of {self.pool!r}>"

    @property
    def breaker(self) -> pybreaker.CircuitBreaker:
        """The pool's breaker. Its verbs wait for its listeners: call them in a thread."""
        return self.pool.breaker

    def agent(self, api_key: str, *, totp: AsyncTotp = None) -> AsyncAgent:
        """Return the handle for ``api_key``: the same one for the same key.

        Arguments:
            api_key: starts with ``col_``.
            totp: as ``ColonyPool.agent`` has it, called in a thread; or a coroutine function, called in the event
                loop that runs here, where anything else that is to be awaited is awaited, too.
        """
        sync: Totp = None
        try:
            agent = self._agents.get(api_key) if isinstance(api_key, str) else None
            sync = self._totp(agent, totp)
            if agent is None:
                agent = self._agents.keep(api_key, AsyncAgent(self, self.pool.agent(api_key, totp=sync)))
            else:
                agent._agent._set_totp(sync)
            if self._closed:
                agent._end()
            return agent
        finally:
            del api_key, totp, sync  # no traceback of ours holds a secret

    def _totp(self, agent: AsyncAgent | None, totp: AsyncTotp) -> Totp:
        if totp is None or not callable(totp):
            return totp
        known = agent._agent._credential.totp if agent is not None else None
        if isinstance(known, LoopTotp) and known.ask == totp:
            known.come_here()
            return known
        return LoopTotp(totp, self._new_event)

    def _new_event(self) -> Any:
        return self.pool._runtime.event()  # that of the moment: a late patch, or a fork, brings another

    def forget(self, api_key: str) -> bool:
        """Let go of ``api_key``, as ``ColonyPool.forget`` does, of the pool behind this as well."""
        try:
            known = isinstance(api_key, str) and self._agents.forget(api_key)
            return self.pool.forget(api_key) or known
        finally:
            del api_key  # no traceback of ours holds a secret

    def status(self) -> PoolStatus:
        """Return what the pool knows now."""
        return self.pool.status()

    async def clear_rate_limit(self) -> float:
        """End the hold that the server has asked for, as ``ColonyPool.clear_rate_limit`` does."""
        self._ready()
        cleared: float = await off_loop(self.pool._runner.errands, self.pool.clear_rate_limit)
        return cleared

    async def close(self) -> None:
        """End what is under way here, within a second: waiters wake with ``PoolClosedError``.

        A pool that was given stays open for the others; one of our own is closed, for everybody. When it was cut
        short, by a time limit for one, another call does what is left.
        """
        notice_fork()
        if self._is_over:
            return
        done = LoopFlag()  # raises, before anything has changed, where no loop runs
        self._closed = True
        for agent in self._agents.all():
            agent._end()
        if self._owns_pool and not self.pool._is_over:
            self.pool._runtime.spawn(self._close_pool, done, home=self.pool._runtime.outside())
            await done.wait()
        for flag in self._parked.all():
            flag.set()
        await self._doors.close()
        self._is_over = True

    aclose = close

    def _close_pool(self, done: LoopFlag) -> None:
        try:
            self.pool.close()
        finally:
            done.set()

    def _ready(self) -> None:
        if self._closed:
            raise closed().exception()
        self.pool._ready()

    def _after_fork(self) -> None:
        """In a forked child: the parent's loops, tasks and connections are none of ours."""
        self._parked = ThreadSafeWeakSet()
        self._doors.after_fork()
