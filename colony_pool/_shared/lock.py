"""A lock that threads and greenlets may contend for in any mixture.

``threading.Lock`` may not: under gevent's patching it is a greenlet's lock, and of two threads of gevent's thread
pool that meet at one, the second waits for ever. To try and to sleep works for both; it is rare here, and never long.
"""

from __future__ import annotations

import threading
import time

from .store import StoreUnavailable

_STEP = 0.001


class SharedLock:
    """Mutual exclusion within a process; ``StoreUnavailable`` when others have it for ``patience`` seconds."""

    def __init__(self, patience: float) -> None:
        self._lock = threading.Lock()
        self._patience = patience

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        give_up = time.monotonic() + self._patience
        while not self._lock.acquire(blocking=False):
            if time.monotonic() >= give_up:
                raise StoreUnavailable(f"other threads have been using the store for {self._patience:g} s")
            time.sleep(_STEP)

    def __exit__(self, *exc: object) -> None:
        self._lock.release()
