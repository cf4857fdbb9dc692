"""The types that stand in public signatures and that you do not make yourself, for annotations.

``Runtime`` is what ``ColonyPool(runtime=...)`` accepts beside a name: time, tasks, events, locks and chance of one
kind of concurrency. ``colony_pool.testing.SimRuntime`` is one. Its parts are ``Event``, ``Lock`` and ``Timer``. All
four are protocols: a class that has their methods needs no base class.

``Totp`` is what ``ColonyPool.agent(totp=...)`` accepts: a callable that returns a fresh one-time code, a code that is
good for one attempt, or ``None`` for an account without 2FA. ``AsyncTotp`` is the same for ``AsyncColonyPool``, where
the callable may also be a coroutine function.
"""

from ._aio.pool import AsyncTotp
from ._driver.credential import Totp
from ._runtime.protocol import Event, Lock, Runtime, Timer

__all__ = ["AsyncTotp", "Event", "Lock", "Runtime", "Timer", "Totp"]
