"""The one asynchronous view of a pool, for parts that were given the pool, or an agent of it."""

from __future__ import annotations

from ..agent import Agent
from ..pool import ColonyPool
from .agent import AsyncAgent
from .pool import AsyncColonyPool

__all__ = ["async_agent", "view_of"]

_NAME = "_shared_view"


def view_of(pool: ColonyPool) -> AsyncColonyPool:
    """The view of ``pool`` that all such parts share; it lives as long as the pool."""
    view = vars(pool).get(_NAME)
    if view is None:
        view = vars(pool).setdefault(_NAME, AsyncColonyPool(pool=pool))
    assert isinstance(view, AsyncColonyPool)  # noqa: S101 - nothing else is put there
    return view


def async_agent(agent: Agent) -> AsyncAgent:
    """The handle on the same key for tasks of event loops."""
    return view_of(agent._pool).agent(agent._credential.key)
