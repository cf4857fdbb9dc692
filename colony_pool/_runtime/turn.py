"""At most one task at a time, though any of them may die at any step.

Dramatiq, ``func_timeout`` and a signal handler raise between any two steps of a task, also between taking a lock and
the ``try`` that would release it, or in the ``finally`` before it does. A lock stays locked then, for good. A turn is
had by a *frame*, the one in which it was taken. A frame that has ended, however it ended, has no turn any more: the
next one looks whether it has. It is never waited for.

Who finds that a holder has died takes its place: a holder has one heir, and ``dict.setdefault`` lets only one be it.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any


class _Holder:
    __slots__ = ("frame", "heirs")

    def __init__(self, frame: FrameType) -> None:
        self.frame = frame
        self.heirs: dict[int, _Holder] = {}

    def is_dead(self) -> bool:
        """Whether its frame has ended. One at work, or of a greenlet that waits, refuses to be cleared."""
        try:
            self.frame.clear()
        except RuntimeError:
            return False
        return True


class Turn:
    """Tried, never waited for. The frame that takes it gives it back, or ends."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: dict[int, _Holder] = {}  # at 0: who took it when it was free; its heirs follow

    def acquire(self, blocking: bool = False) -> bool:
        """Take it for the frame that calls this; False if another has it."""
        assert not blocking  # noqa: S101 - nobody may wait for it
        mine = _Holder(sys._getframe(1))
        first = holder = self._first.setdefault(0, mine)
        while holder is not mine:
            if not holder.is_dead():
                return False
            holder = holder.heirs.setdefault(0, mine)
        # One that was given back meanwhile leaves nothing: its chain of heirs is none any more.
        return self._first.get(0) is first

    def release(self) -> None:
        """Give it back; only the frame that has it does."""
        self._first.pop(0, None)

    def locked(self) -> bool:
        """Whether a frame that still runs has it."""
        holder: Any = self._first.get(0)
        while holder is not None and holder.is_dead():
            holder = holder.heirs.get(0)
        return holder is not None
