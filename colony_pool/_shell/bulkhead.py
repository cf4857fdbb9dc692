"""The bulkhead: at most so many requests at once, however callers die while they wait for their turn.

urllib3's own ``block=True`` is no such thing: a greenlet killed while it waits for a slot makes ``urlopen``
put back a slot that it never had (921 innocent requests failed in a storm of 4,000 kills). Here a slot is
handed over by name, and each ticket is claimed once: by the sorter, who then hands a slot over, or by its
owner, who gives up. Whoever finds it claimed knows what the other has done.

Nobody waits for the lock. Who gets it sorts for all; who does not leaves its slot or its ticket in a queue
that the holder looks at again after it let go. So a finaliser that gives a slot back in the middle of a
hand-over cannot deadlock with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .._runtime.protocol import Event, Runtime


class _Ticket:
    """One who waits. Whoever claims it first decides: the sorter grants, or the waiter gives up."""

    __slots__ = ("_claim", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._claim = [None]

    def claim(self) -> bool:
        """True for exactly one caller (``pop`` is atomic)."""
        try:
            self._claim.pop()
        except IndexError:
            return False
        return True


class Bulkhead:
    """``maxsize`` slots; first come, first served, but ``priority`` goes first."""

    def __init__(self, maxsize: int, runtime: Runtime) -> None:
        self._free = maxsize
        self._maxsize = maxsize
        self._runtime = runtime
        self._sorting = runtime.lock()  # guards _free and the hand-over; only ever tried
        self._returned: deque[int] = deque()
        self._first: deque[_Ticket] = deque()
        self._rest: deque[_Ticket] = deque()

    @property
    def in_use(self) -> int:
        """Slots taken now."""
        return self._maxsize - self._free - len(self._returned)

    @property
    def waiting(self) -> int:
        """Callers who wait for a slot."""
        return len(self._first) + len(self._rest)

    def acquire(
        self,
        timeout: float | None,
        *,
        priority: bool = False,
        on_wait: Callable[[Callable[[], object]], object] | None = None,
    ) -> bool:
        """Wait for a slot, at most ``timeout`` seconds; True when it is ours, to be given to ``release``.

        ``on_wait`` is told, before a wait, what to call in order to end it early.
        """
        if not (self._first or self._rest) and self._take():
            return True
        ticket = _Ticket(self._runtime.event())
        line = self._first if priority else self._rest
        try:
            line.append(ticket)
            if on_wait is not None:
                on_wait(ticket.event.set)
            self._sort()
            ticket.event.wait(timeout)
        except BaseException:
            if not self._gave_up(ticket, line):
                self.release()
            raise
        return not self._gave_up(ticket, line)

    def release(self) -> None:
        """Give a slot back."""
        self._returned.append(1)
        self._sort()

    def _take(self) -> bool:
        """Take a free slot without waiting, if nobody is in the way."""
        if not self._sorting.acquire(False):
            return False
        try:
            self._collect()
            took = self._free > 0
            self._free -= took
        finally:
            self._sorting.release()
        self._sort()
        return took

    @staticmethod
    def _gave_up(ticket: _Ticket, line: deque[_Ticket]) -> bool:
        """Stop waiting. False if a slot was handed over meanwhile: it is ours."""
        if not ticket.claim():
            return False
        try:
            line.remove(ticket)
        except (ValueError, IndexError):
            pass  # the sorter has taken it out, or is doing so: it skips what is claimed
        return True

    def _sort(self) -> None:
        """Hand free slots to waiters. Whoever gets the lock does it for all; nobody waits for the lock."""
        while self._work_left() and self._sorting.acquire(False):
            try:
                self._collect()
                while self._free and (ticket := self._next()) is not None:
                    if ticket.claim():
                        self._free -= 1
                        ticket.event.set()
            finally:
                self._sorting.release()

    def _work_left(self) -> bool:
        return bool(self._returned) or bool(self._free and (self._first or self._rest))

    def _collect(self) -> None:
        while self._returned:
            self._returned.popleft()
            self._free += 1

    def _next(self) -> _Ticket | None:
        for line in (self._first, self._rest):
            try:
                return line.popleft()
            except IndexError:
                continue
        return None
