"""The bulkhead: at most so many requests at once, however callers die while they wait for their turn.

Requests for a token go first, and one slot is theirs alone: API calls that hang must not keep the pool from its token
endpoint. API calls take turns by agent: an agent with a thousand calls makes another's wait for one of them.

urllib3's own ``block=True`` is no such thing: a greenlet killed while it waits for a slot makes ``urlopen``
put back a slot that it never had (921 innocent requests failed in a storm of 4,000 kills).

A slot is a token. It lies in ``_free`` or in the request of the one who has it, and moves from one to the other
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


class Wakeup(Protocol):
    """What a request that waits is woken with."""

    def set(self) -> None:
        """Wake the one who waits; never blocks."""


E = TypeVar("E", bound=Wakeup)


def _move(take: Callable[[], T], to: list[T] | deque[T]) -> bool:
    """Move what ``take`` (a ``pop``) returns. All in C: Ctrl-C comes before or after, never in between."""
    try:
        to.extend(islice(iter(take, None), 1))
    except IndexError:
        return False
    return True


class SlotRequest:
    """One caller's place in the line, and then its slot. ``leave`` belongs into a ``finally``."""

    __slots__ = ("_bulkhead", "event", "gone", "held", "line", "owner", "priority")

    def __init__(self, bulkhead: Bulkhead, priority: bool, owner: int) -> None:
        self._bulkhead = bulkhead
        self.priority = priority
        self.owner = owner
        self.line: Line | None = None
        self.event: Wakeup | None = None
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

    def hand_over(self) -> SlotRequest | None:
        """Give the slot to another thread, which has to ``leave`` the returned request; ``None`` if we left."""
        other = SlotRequest(self._bulkhead, self.priority, self.owner)
        return other if _move(self.held.pop, other.held) else None

    def leave(self) -> None:
        """Give back what we have: a slot, or a place in the line. Any number of times."""
        self.gone = True
        self._bulkhead.left(self)

    def __del__(self) -> None:
        """Ctrl-C on the way into ``leave``: then the caller's frame dies, and this with it."""
        if getattr(self, "held", None):  # or before it was even made
            self.leave()


class Line:
    """The requests of one owner that wait, the first to come first."""

    __slots__ = ("has_turn", "owner", "requests")

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.requests: deque[SlotRequest] = deque()
        self.has_turn = False


class Turns:
    """Owners take turns; each sends one request a round.

    There is no lock. A line that has requests stands in ``_turns`` at least once: twice costs nothing but a turn.
    """

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._turns: deque[Line] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def all(self) -> list[SlotRequest]:
        """Every request that waits."""
        return [request for line in (*self._lines.values(), *self._turns) for request in tuple(line.requests)]

    def add(self, request: SlotRequest) -> None:
        """Let ``request`` wait."""
        line = request.line = self._lines.setdefault(request.owner, Line(request.owner))
        line.requests.append(request)
        if not line.has_turn:
            self._give_turn(line)

    def take(self, to: list[SlotRequest]) -> bool:
        """Move the next request; False if there is none."""
        taken: list[Line] = []
        try:
            while _move(self._turns.popleft, taken):
                if _move(taken[0].requests.popleft, to):
                    return True
                self._end_turn(taken.pop())
            return False
        finally:
            if taken:
                self._end_turn(taken[0])

    def put_back(self, request: SlotRequest) -> None:
        """Let ``request`` be the next one again."""
        assert request.line is not None  # noqa: S101 - it has waited
        request.line.requests.appendleft(request)
        request.line.has_turn = True
        self._turns.appendleft(request.line)

    def remove(self, request: SlotRequest) -> None:
        """Forget ``request``, if it waits."""
        if request.line is not None:
            with suppress(ValueError):
                request.line.requests.remove(request)

    def _give_turn(self, line: Line) -> None:
        line.has_turn = True
        self._turns.append(line)

    def _end_turn(self, line: Line) -> None:
        line.has_turn = False
        if line.requests:  # looked at after: a request that came in between has seen a turn that was over
            self._give_turn(line)
        elif self._lines.get(line.owner) is line:
            self._lines.pop(line.owner, None)


class Bulkhead:
    """``maxsize`` slots, of which API calls take all but one (with one slot, requests for tokens have one more)."""

    def __init__(self, maxsize: int, runtime: Runtime) -> None:
        self._kept: deque[int] = deque([0])  # for requests for tokens
        self._free: deque[int] = deque(range(1, max(2, maxsize)))
        self.size = len(self._kept) + len(self._free)
        self._runtime = runtime
        self._first: deque[SlotRequest] = deque()  # requests for tokens
        self._rest = Turns()
        self.ended = False

    def end(self) -> None:
        """Wake all who wait, without a slot: there is none for anybody any more."""
        self.ended = True
        for request in (*self._first, *self._rest.all()):
            with suppress(Exception):  # the hub that waits there is dead
                if request.event is not None:
                    request.event.set()

    @property
    def in_use(self) -> int:
        """Slots taken now."""
        return self.size - len(self._free) - len(self._kept)

    @property
    def full(self) -> bool:
        """Whether an API call has to wait."""
        return not self._free

    @property
    def waiting(self) -> int:
        """Callers who wait for a slot."""
        return len({*self._first, *self._rest.all()})

    def request(self, *, priority: bool = False, owner: int = 0) -> SlotRequest:
        """Return one with neither a slot nor a place. ``owner``: the requests of one take turns with others'."""
        return SlotRequest(self, priority, owner)

    def wait(
        self,
        request: SlotRequest,
        timeout: float | None,
        on_wait: Callable[[Callable[[], object]], object] | None,
    ) -> bool:
        """See ``SlotRequest.wait``."""
        event = self.line_up(request, self._runtime.event)
        if event is None:
            return True
        if on_wait is not None:
            on_wait(event.set)
        event.wait(timeout)
        return bool(request.held)

    def line_up(self, request: SlotRequest, new_event: Callable[[], E]) -> E | None:
        """See ``SlotRequest.line_up``."""
        if not self._first and (request.priority or not self._rest) and self._take(request):
            return None
        event = new_event()
        request.event = event
        if request.priority:
            self._first.append(request)
        else:
            self._rest.add(request)
        self._match()
        return event

    def left(self, request: SlotRequest) -> None:
        """See ``SlotRequest.leave``."""
        moved = self._give_back(request)
        if request.event is not None:
            with suppress(ValueError):
                self._first.remove(request)
            self._rest.remove(request)
        if moved:
            self._match()

    def _take(self, request: SlotRequest) -> bool:
        """Give ``request`` a slot that is free for it."""
        return (request.priority and _move(self._kept.pop, request.held)) or _move(self._free.pop, request.held)

    def _give_back(self, request: SlotRequest) -> bool:
        return _move(request.held.pop, self._kept if request.held == [0] else self._free)

    def _match(self) -> None:
        """Give free slots to those who wait. Whoever has added one or the other calls this, also several at once."""
        while (self._first and (self._kept or self._free)) or (self._rest and self._free):
            called: list[SlotRequest] = []
            try:
                if _move(self._first.popleft, called) or self._rest.take(called):
                    self._serve(called)
            finally:
                if called:  # there was no slot any more, or we were interrupted: it keeps its place
                    self._put_back(called[0])

    def _put_back(self, request: SlotRequest) -> None:
        if request.priority:
            self._first.appendleft(request)
        else:
            self._rest.put_back(request)

    def _serve(self, called: list[SlotRequest]) -> None:
        request = called[0]
        if not request.gone and (request.held or self._take(request)):
            assert request.event is not None  # noqa: S101 - it stood in a line
            try:
                request.event.set()
            except Exception:  # noqa: BLE001 - the hub that waits there is dead, and its greenlet with it
                request.gone = True
            if request.gone:  # it left while we served it, and may have seen nothing
                self._give_back(request)
            called.clear()
        elif request.gone:
            called.clear()
