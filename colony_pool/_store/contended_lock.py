"""A lock that threads and greenlets may contend for in any mixture.

``threading.Lock`` may not: under gevent's patching it is a greenlet's lock, and of two threads of gevent's thread
pool that meet at one, the second waits for ever. To try and to sleep works for both; it is rare here, and never long.
"""

from __future__ import annotations

import threading
import time

from .protocol import StoreUnavailable

_STEP = 0.001


class SharedLock:
    """Mutual exclusion within a process; ``StoreUnavailable`` when others have it for ``patience`` seconds."""

    def __init__(self, patience: float) -> None:
        self._lock = threading.Lock()
        self._goes_first = False  # somebody waits for it before whom nobody takes it
        self._patience = patience

    def __enter__(self) -> None:
        if not self.take(self._patience):
            raise StoreUnavailable(f"other threads have been using the store for {self._patience:g} s")

    def __exit__(self, *exc: object) -> None:
        self.release()

    def take(self, patience: float) -> bool:
        """Take it; ``False`` when others have it for ``patience`` seconds."""
        give_up = time.monotonic() + patience
        while self._goes_first or not self._lock.acquire(blocking=False):
            if time.monotonic() >= give_up:
                return False
            time.sleep(_STEP)
        return True

    def take_first(self, patience: float) -> bool:
        """Take it before all others that wait: who takes turns leaves no gap to who tries and sleeps."""
        give_up = time.monotonic() + patience
        self._goes_first = True
        try:
            while not self._lock.acquire(blocking=False):
                if time.monotonic() >= give_up:
                    return False
                time.sleep(_STEP)
            return True
        finally:
            self._goes_first = False

    def is_free(self) -> bool:
        """Whether nobody has it."""
        return not self._lock.locked()

    def release(self) -> None:
        """Give it back."""
        self._lock.release()
