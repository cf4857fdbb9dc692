"""The types that stand in public signatures and that no other public module has, for annotations.

What you can give a pool in place of its own. These are protocols: a class that has their methods needs no base class.

* ``Runtime``, for ``ColonyPool(runtime=...)``: time, tasks, events, locks and chance of one kind of concurrency.
  ``colony_pool.testing.SimRuntime`` is one. Its parts are ``Event``, ``Lock`` and ``Timer``.
* ``Transport``, for ``ColonyPool(transport=...)``: what sends requests in place of the network, in tests. It returns
  a ``RawResponse``, or raises ``NetworkFailure`` or ``BadReply``. A ``CancelToken`` ends a request from another task.
* ``Store``, for ``ColonyPool(shared=...)``: what pools share about one endpoint. ``colony_pool.testing.MemoryStore``
  is one. **It is provisional: its verbs, and the types that they take and return, may still change.** These types
  are ``SharedState``, ``OpenState``, ``SharedDenial``, ``KeyState`` and ``StoreReport``. A store that fails raises
  ``StoreUnavailable``.

What ``agent(totp=...)`` accepts. ``Totp`` is for ``ColonyPool``: a callable that returns a fresh one-time code, a
code that is good for one attempt, or ``None`` for an account without 2FA. ``AsyncTotp`` is the same for
``AsyncColonyPool``, where the callable may also be a coroutine function.

Keyword arguments, for functions of yours that pass them on. ``PoolOptions`` are those of ``ColonyPool``, and
``RequestOptions`` are those of ``Agent.request``: ``def post(path: str, **options: Unpack[RequestOptions])``.
"""

from ._aio.options import PoolOptions
from ._aio.pool import AsyncTotp
from ._driver.credential import Totp
from ._http.api import RequestOptions
from ._http.cancel import CancelToken
from ._http.failures import BadReply, NetworkFailure, RawResponse
from ._http.protocol import Transport
from ._runtime.protocol import Event, Lock, Runtime, Timer
from ._store.protocol import (
    KeyState,
    OpenState,
    SharedDenial,
    SharedState,
    Store,
    StoreReport,
    StoreUnavailable,
)

__all__ = [
    "AsyncTotp",
    "BadReply",
    "CancelToken",
    "Event",
    "KeyState",
    "Lock",
    "NetworkFailure",
    "OpenState",
    "PoolOptions",
    "RawResponse",
    "RequestOptions",
    "Runtime",
    "SharedDenial",
    "SharedState",
    "Store",
    "StoreReport",
    "StoreUnavailable",
    "Timer",
    "Totp",
    "Transport",
]
