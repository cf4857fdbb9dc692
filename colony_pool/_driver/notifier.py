"""What has happened, told in order to pybreaker and to listeners, by one task at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from .._core import actions as act
from .._core.events import Event
from .._log import Lines
from .._runtime.protocol import Runtime


class MirroringBreaker(Protocol):
    """The pool's face to pybreaker's listeners, as far as it is needed here."""

    @property
    def listener_errors(self) -> int:
        """Exceptions that its listeners have raised."""

    def mirror(self, what: str) -> None:
        """Note for them what has been decided."""

    def deliver(self) -> None:
        """Have users' listeners told, in a task of their own."""

    def begin_anew(self) -> None:
        """Be closed, for another dispatcher."""


class Notifier:
    """Tells with no lock held that anyone waits for.

    Arguments:
        breaker: pybreaker, if there is one to tell.
        listeners: told of each event.
        by_kind: told of the events of one class.
    """

    def __init__(
        self, runtime: Runtime, breaker: MirroringBreaker | None,
        listeners: list[Callable[[Event], object]], lines: Lines,
        by_kind: Mapping[type, Callable[[Event], object]] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._listeners = listeners
        self._by_kind = by_kind
        self._lines = lines
        self._breaker = breaker
        self._items: deque[act.MirrorToPybreaker | Event] = deque()
        self._notifying = runtime.lock()  # guards the order in which items are told

    def add(self, item: act.MirrorToPybreaker | Event) -> None:
        """Note what is to be told."""
        self._items.append(item)

    def notify(self) -> None:
        """Tell what is noted, unless another task is at it."""
        while self._items and self._notifying.acquire(False):
            try:
                while self._items:
                    item = self._items.popleft()
                    if isinstance(item, act.MirrorToPybreaker):
                        if self._breaker is not None:
                            self._breaker.mirror(item.what)
                    else:
                        self._notify_listeners(item)
            finally:
                self._notifying.release()
        if self._breaker is not None:
            self._breaker.deliver()

    def end(self) -> None:
        """Tell nothing any more: in a forked child, where a greenlet that was copied along would tell it twice."""
        self._items.clear()
        self._listeners = []
        self._by_kind = {}
        self._breaker = None

    def _notify_listeners(self, event: Event) -> None:
        special = self._by_kind.get(type(event))
        for listener in (*self._listeners, *((special,) if special is not None else ())):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a listener's own fault
                self._lines.raised(f"a listener raised on {type(event).__name__}; it changes nothing", error)
