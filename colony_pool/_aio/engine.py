"""What works behind one ``AsyncColonyPool`` and its handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.failure import closed
from .._fork import renew_in_children
from ..pool import ColonyPool, engines_of
from .agent import Sender
from .loop_event import WaitingTasks
from .relay import TransportSender

if TYPE_CHECKING:
    from .client import LoopClients

__all__ = ["AsyncEngine"]


class AsyncEngine:
    """Whether it is open, who waits, and what makes API calls. Its handles keep it alive."""

    def __init__(self, pool: ColonyPool) -> None:
        self.pool = pool
        self.waiting = WaitingTasks()
        self._engines = engines_of(pool)
        self._clients: LoopClients | None = None
        self._is_closed = False
        if self._engines.current.options.transport is None:
            try:  # now, and not in a loop, which would stand still for a tenth of a second
                import httpx  # noqa: F401 - for its effect

                from .client import LoopClients
            except ImportError:
                pass
            else:
                self._clients = LoopClients(pool, self.waiting)
                self._engines.ends_with_pool.add(self._clients)
        self._engines.ends_with_pool.add(self.waiting)
        renew_in_children(self)

    @property
    def is_closed(self) -> bool:
        """Whether ``end`` was called."""
        return self._is_closed

    def check_open(self) -> None:
        """Every call that does more than read a cached token comes through here. Raises ``PoolClosedError``."""
        if self._is_closed:
            raise closed().exception()
        self._engines.ready()

    def sender(self) -> Sender:
        """What makes the API calls of the loop that runs here. Raises ``ImportError`` without httpx."""
        if self._engines.current.options.transport is not None:
            return TransportSender(self._engines, self.waiting)
        if self._clients is None:
            message = 'API calls on asyncio need httpx: pip install "colony_pool[asyncio]" (token() does without)'
            raise ImportError(message)
        return self._clients.here()

    def end(self) -> None:
        """Refuse calls from now on."""
        self._is_closed = True

    async def close(self) -> None:
        """Wake all waiting tasks, and close the connections of all loops."""
        self.waiting.end()
        if self._clients is not None:
            await self._clients.close()

    def _after_fork(self) -> None:
        """In a forked child: the parent's loops, tasks and connections are none of ours."""
        self.waiting.after_fork()
        if self._clients is not None:
            self._clients.after_fork()
