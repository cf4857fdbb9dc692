"""The bulkhead: at most so many requests at once, however callers die while they wait for their turn.

urllib3's own ``block=True`` is no such thing: a greenlet killed while it waits for a slot makes ``urlopen``
put back a slot that it never had (921 innocent requests failed in a storm of 4,000 kills).

A slot is a token. It lies in ``_free`` or in the ticket of the one who has it, and moves from one to the other
in a single step that neither a signal nor another thread can divide. So there is no lock: nobody who is killed
can leave one behind, and a finaliser that gives a slot back in the middle of anything waits for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Protocol, TypeVar

from .._runtime.protocol import Runtime

T = TypeVar("T")


class Bell(Protocol):
    """What a ticket is called with."""

    def set(self) -> None:
        """Wake the one who waits; never blocks."""


E = TypeVar("E", bound=Bell)


def _move(take: Callable[[], T], to: list[T] | deque[T]) -> bool:
    """Move what ``take`` (a ``pop``) returns. All in C: Ctrl-C comes before or after, never in between."""
    try:
        to.extend(islice(iter(take, None), 1))
    except IndexError:
        return False
    return True


class Ticket:
    """One request's place in the line, and then its slot. ``leave`` belongs into a ``finally``."""

    __slots__ = ("_bulkhead", "event", "gone", "held", "priority")

    def __init__(self, bulkhead: Bulkhead, priority: bool) -> None:
        self._bulkhead = bulkhead
        self.priority = priority
        self.event: Bell | None = None
        self.held: list[int] = []  # the slot, if we have one
        self.gone = False

    def wait(self, timeout: float | None, *, on_wait: Callable[[Callable[[], object]], object] | None = None) -> bool:
        """Wait for a slot, at most ``timeout`` seconds; True when it is ours.

        ``on_wait`` is told, before a wait, what to call in order to end it early.
        """
        return self._bulkhead.wait(self, timeout, on_wait)

    def line_up(self, new_event: Callable[[], E]) -> E | None:
        """``None``: there was a slot, and it is ours; else what is set when it is, made by ``new_event``."""
        return self._bulkhead.line_up(self, new_event)

    def hand_over(self) -> Ticket | None:
        """Give the slot to another thread, which has to ``leave`` the returned ticket; ``None`` if we left."""
        other = Ticket(self._bulkhead, self.priority)
        return other if _move(self.held.pop, other.held) else None

    def leave(self) -> None:
        """Give back what we have: a slot, or a place in the line. Any number of times."""
        self.gone = True
        self._bulkhead.left(self)

    def __del__(self) -> None:
        """Ctrl-C on the way into ``leave``: then the caller's frame dies, and this with it."""
        if getattr(self, "held", None):  # or before it was even made
            self.leave()


class Bulkhead:
    """``maxsize`` slots; first come, first served, but ``priority`` goes first."""

    def __init__(self, maxsize: int, runtime: Runtime) -> None:
        self._free: deque[int] = deque(range(maxsize))
        self._maxsize = maxsize
        self._runtime = runtime
        self._first: deque[Ticket] = deque()
        self._rest: deque[Ticket] = deque()
        self.ended = False

    def end(self) -> None:
        """Wake all who wait, without a slot: there is none for anybody any more."""
        self.ended = True
        for ticket in (*self._first, *self._rest):
            with suppress(Exception):  # the hub that waits there is dead
                if ticket.event is not None:
                    ticket.event.set()

    @property
    def in_use(self) -> int:
        """Slots taken now."""
        return self._maxsize - len(self._free)

    @property
    def waiting(self) -> int:
        """Callers who wait for a slot."""
        return len(self._first) + len(self._rest)

    def ticket(self, *, priority: bool = False) -> Ticket:
        """Return a ticket with neither a slot nor a place."""
        return Ticket(self, priority)

    def wait(
        self,
        ticket: Ticket,
        timeout: float | None,
        on_wait: Callable[[Callable[[], object]], object] | None,
    ) -> bool:
        """See ``Ticket.wait``."""
        event = self.line_up(ticket, self._runtime.event)
        if event is None:
            return True
        if on_wait is not None:
            on_wait(event.set)
        event.wait(timeout)
        return bool(ticket.held)

    def line_up(self, ticket: Ticket, new_event: Callable[[], E]) -> E | None:
        """See ``Ticket.line_up``."""
        if not self._first and not self._rest and _move(self._free.pop, ticket.held):
            return None
        event = new_event()
        ticket.event = event
        (self._first if ticket.priority else self._rest).append(ticket)
        self._match()
        return event

    def left(self, ticket: Ticket) -> None:
        """See ``Ticket.leave``."""
        moved = _move(ticket.held.pop, self._free)
        if ticket.event is not None:
            for line in (self._first, self._rest):
                try:
                    line.remove(ticket)
                except ValueError:
                    continue
        if moved:
            self._match()

    def _match(self) -> None:
        """Give free slots to those who wait. Whoever has added one or the other calls this, also several at once."""
        while self._free and (self._first or self._rest):
            called: list[Ticket] = []
            try:
                if _move(self._first.popleft, called) or _move(self._rest.popleft, called):
                    self._serve(called)
            finally:
                if called:  # there was no slot any more, or we were interrupted: it keeps its place
                    ticket = called[0]
                    (self._first if ticket.priority else self._rest).appendleft(ticket)

    def _serve(self, called: list[Ticket]) -> None:
        ticket = called[0]
        if not ticket.gone and (ticket.held or _move(self._free.pop, ticket.held)):
            assert ticket.event is not None  # noqa: S101 - it stood in a line
            try:
                ticket.event.set()
            except Exception:  # noqa: BLE001 - the hub that waits there is dead, and its greenlet with it
                ticket.gone = True
            if ticket.gone:  # it left while we served it, and may have seen nothing
                _move(ticket.held.pop, self._free)
            called.clear()
        elif ticket.gone:
            called.clear()
