"""One task does what must be done once; the others wait until it is done.

Threads and greenlets of any hub may meet here, in any mixture and before or after gevent has patched: a lock serves
only the one or the other. To try and to sleep works for all; it is rare here, and never long.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import islice

from .select import pause

_STEP = 0.001  # seconds


class Once:
    """Runs ``act()`` until ``is_done()``, in one task at a time."""

    def __init__(self) -> None:
        self._turn = deque([True])  # the task that takes it out acts; ``deque`` lets only one have it
        self._actor: int | None = None

    def do(self, is_done: Callable[[], bool], act: Callable[[], object]) -> None:
        """Return when ``is_done()``. A call from within ``act()`` returns at once.

        What ``act()`` raises, or its task is interrupted with, is raised here; then the next task acts.
        """
        while not is_done():
            if self._actor == threading.get_ident():
                return
            taken: list[bool] = []
            try:
                taken.extend(islice(iter(self._turn.pop, None), 1))  # all in C: Ctrl-C comes before or after
            except IndexError:
                pause(_STEP)
                continue
            try:
                self._act(is_done, act)
            finally:
                self._turn.extend(taken)

    def _act(self, is_done: Callable[[], bool], act: Callable[[], object]) -> None:
        if is_done():
            return
        self._actor = threading.get_ident()
        try:
            act()
        finally:
            self._actor = None
