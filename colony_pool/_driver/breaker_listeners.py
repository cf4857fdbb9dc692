"""Users' listeners of the breaker, and what they are told: in order, by a task of their own.

A listener may raise, may call the pool, and may hang: it changes nothing, and no call waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._log import log_raised
from .delivery import DeliveryQueue


class BreakerListeners:
    """The listeners of one breaker.

    Arguments:
        base: the class whose methods do nothing: what a listener has of it need not be called.
        queue: by which they are told.

    Attributes:
        errors: exceptions that they have raised.
    """

    def __init__(self, base: type, queue: Callable[[], DeliveryQueue]) -> None:
        self._base = base
        self._queue = queue
        self._listeners: list[Any] = []  # each change is one step: no lock is needed
        self.errors = 0

    def all(self) -> tuple[Any, ...]:
        """The listeners, as they were given."""
        return tuple(self._listeners)

    def add(self, listener: Any) -> None:
        """Have ``listener`` told of what happens from now on."""
        self._listeners.append(listener)

    def remove(self, listener: Any) -> None:
        """Tell ``listener`` nothing more. Raises ``ValueError`` if it was not added."""
        try:
            self._listeners.remove(listener)
        except ValueError:
            raise ValueError(f"listener={listener!r}: must be one that was added, see breaker.listeners") from None

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def tell(self, what: str, /, *args: Any, **kwargs: Any) -> None:
        """Note that the method ``what`` of each is to be called with these arguments, after the next ``deliver``."""
        for listener in self.all():
            method = getattr(listener, what, None)
            if method is not None and getattr(method, "__func__", None) is not getattr(self._base, what):
                self._note(method, args, kwargs)

    def _note(self, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._queue().put(lambda: self._call(method, args, kwargs))

    def _call(self, method: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """It is the queue's task that calls this."""
        try:
            method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a user's own code
            self.errors += 1
            log_raised("a breaker listener raised; it changes nothing", error)

    def deliver(self) -> None:
        """Have them told what was noted; this waits for none of them."""
        if self._listeners:
            self._queue().flush()

    def begin_anew(self) -> None:
        """For another dispatcher, in a forked child for one: they stay, untold."""
        self.errors = 0
