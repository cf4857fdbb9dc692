"""``AsyncColonyPool``: a ``ColonyPool`` as tasks of event loops use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._driver.credential import Totp
from .._driver.handles import Handles
from .._fork import notice_fork
from ..agent import Agent, pool_of, state_of
from ..pool import ColonyPool, engines_of
from ..status import PoolStatus
from .agent import AsyncAgent, agent_behind, let_expire
from .engine import AsyncEngine
from .loop_event import LoopEvent, off_loop, running_loop
from .totp import Ask, LoopTotp

if TYPE_CHECKING:
    import pybreaker  # comes with the first pool
    from typing_extensions import Unpack  # type checkers have it; nobody else reads the annotation

    from .options import PoolOptions

__all__ = ["AsyncColonyPool", "async_agent", "default_view"]

AsyncTotp = str | Ask | None


class AsyncColonyPool:
    """The same as ``ColonyPool``, for tasks of any number of event loops, and for threads and greenlets beside.

    Arguments:
        base_url: as ``ColonyPool`` has it.
        pool: a pool that others use already: both send one probe, and ``close`` leaves it open.
        options: those of ``ColonyPool``, with its defaults, if there is no ``pool``.

    Attributes:
        pool: the ``ColonyPool`` behind it: give it to threads and greenlets.
    """

    def __init__(
        self, base_url: str | None = None, *, pool: ColonyPool | None = None, **options: Unpack[PoolOptions]
    ) -> None:
        if pool is not None and (base_url is not None or options):
            raise ValueError("pool: has its own base_url and options; give either it or them")
        runtime = engines_of(pool).current.runtime if pool is not None else options.get("runtime")
        if getattr(runtime, "name", "") == "sim":
            raise ValueError("runtime: an event loop waits in real time; a simulation plays ColonyPool alone")
        self._owns_pool = pool is None
        self.pool = pool if pool is not None else ColonyPool(base_url, **options)
        self._engines = engines_of(self.pool)
        self._agents: Handles[AsyncAgent] = Handles(self._is_of_use)
        self._engine = AsyncEngine(self.pool)
        self._is_over = False  # nothing is left to close

    async def __aenter__(self) -> AsyncColonyPool:
        running_loop()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncColonyPool of {self.pool!r}>"

    @property
    def breaker(self) -> pybreaker.CircuitBreaker:
        """The pool's breaker. None of it waits for a listener, or for the network."""
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
                agent = self._agents.keep(api_key, AsyncAgent(self._engine, self.pool.agent(api_key, totp=sync)))
            else:
                self._engines.current.tokens.set_totp(state_of(agent_behind(agent)), sync)
            if self._engine.is_closed:
                let_expire(agent)
            return agent
        finally:
            del api_key, totp, sync  # no traceback of ours holds a secret

    def _totp(self, agent: AsyncAgent | None, totp: AsyncTotp) -> Totp:
        if totp is None or not callable(totp):
            return totp
        known = state_of(agent_behind(agent)).credential.totp if agent is not None else None
        if isinstance(known, LoopTotp) and known.ask == totp:
            known.come_here()
            return known
        return LoopTotp(totp, self._new_event)

    def _new_event(self) -> Any:
        return self._engines.current.runtime.event()  # that of the moment: a late patch, or a fork, brings another

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
        self._engine.check_open()
        cleared: float = await off_loop(self._engines.current.driver.executor, self.pool.clear_rate_limit)
        return cleared

    async def close(self) -> None:
        """End what is under way here, within a second: waiters wake with ``PoolClosedError``.

        A pool that was given stays open for the others; one of our own is closed, for everybody. When it was cut
        short, by a time limit for one, another call does what is left.
        """
        notice_fork()
        if self._is_over:
            return
        done = LoopEvent()  # raises, before anything has changed, where no loop runs
        self._engine.end()
        for agent in self._agents.all():
            let_expire(agent)
        if self._owns_pool:  # a second close does what is left
            runtime = self._engines.current.runtime
            runtime.spawn(self._close_pool, done, context=runtime.external_context())
            await done.wait()
        await self._engine.close()
        self._is_over = True

    async def aclose(self) -> None:
        """As ``close``: the name that ``contextlib.aclosing`` calls."""
        await self.close()

    def _close_pool(self, done: LoopEvent) -> None:
        try:
            self.pool.close()
        finally:
            done.set()

    def _is_of_use(self, agent: AsyncAgent) -> bool:
        return self._engines.current.tokens.is_of_use(state_of(agent_behind(agent)))


# -- for the other modules of this library ----------------------------------------------------------------

_DEFAULT_VIEW = "_default_view"


def engine_behind(pool: AsyncColonyPool) -> AsyncEngine:
    """What works behind ``pool``."""
    return pool._engine


def default_view(pool: ColonyPool) -> AsyncColonyPool:
    """The ``AsyncColonyPool`` that all parts share that were given ``pool`` alone; it lives as long as the pool."""
    view = vars(pool).get(_DEFAULT_VIEW)
    if view is None:
        view = vars(pool).setdefault(_DEFAULT_VIEW, AsyncColonyPool(pool=pool))
    assert isinstance(view, AsyncColonyPool)  # noqa: S101 - nothing else is put there
    return view


def async_agent(agent: Agent) -> AsyncAgent:
    """The handle on the same key for tasks of event loops."""
    return default_view(pool_of(agent)).agent(state_of(agent).credential.key)
