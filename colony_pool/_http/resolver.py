"""Look-ups of host names: one at a time for each name, shared by all who need it meanwhile.

gevent looks names up in ten native threads of a hub. If each of forty calls had a look-up of its own, and the name
server were silent, no other look-up of the process could begin. So one task makes the look-up. The others wait for
its result, each within its own deadline, and each may be ended from outside.

A call that comes after a look-up has ended makes a new one: a name may have moved.
"""

from __future__ import annotations

import _socket  # gevent's own function would start threads for an IP address, too, and they stay
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from .._runtime.protocol import Event
from .._runtime.turn import Turn

Addresses = list[tuple[Any, ...]]  # as ``socket.getaddrinfo`` returns them

# For so long, in seconds, a result is good for those whose look-up cannot begin.
_GOOD_FOR = 60.0
# A wake-up may die with the task that was to send it. So a waiting call looks for itself after so many seconds.
_RECHECK = 1.0
_NAMES = 64  # known at the same time


class Resolver:
    """Looks names up.

    Arguments:
        new_event: makes an event for tasks that make requests.
        spawn: runs a function in a task that does not end with its caller; ``None``: the first of those who need a
            look-up makes it, in its own thread.
        can_begin: whether a look-up would begin at once; ``None``: it always would.
    """

    def __init__(
        self,
        new_event: Callable[[], Event],
        spawn: Callable[[Callable[[], object]], object] | None = None,
        can_begin: Callable[[], bool] | None = None,
    ) -> None:
        self.new_event = new_event
        self.spawn = spawn
        self.can_begin = can_begin
        self._names: dict[tuple[str, int], _Name] = {}

    def look_up(self, host: str, port: int) -> LookUp:
        """Return one caller's look-up of ``host``."""
        name = self._names.get((host, port))
        if name is None:
            name = self._names.setdefault((host, port), _Name(host, port, is_shared=self.spawn is not None))
            if len(self._names) > _NAMES:
                self._names.pop(next(iter(self._names)), None)
        return LookUp(self, name)


class LookUp:
    """One caller's need of the addresses of a host."""

    def __init__(self, resolver: Resolver, name: _Name) -> None:
        self._resolver = resolver
        self._name = name
        self._event: Event | None = None
        self.result: _Found | _Failed | None = None

    def addresses(self, seconds_left: Callable[[], float], *, fresh: bool) -> Addresses:
        """Return the addresses, in the resolver's order.

        Arguments:
            seconds_left: seconds that the caller has; raises if there are none, or if the caller was ended.
            fresh: only a look-up that ends after this call will do, however long it takes to begin.

        Raises what the look-up raised, in an exception of this caller's own, and what ``seconds_left`` raises.
        """
        resolver, name = self._resolver, self._name
        if name.literal is not None:
            return list(name.literal)
        if not fresh and resolver.can_begin is not None and not resolver.can_begin():
            known = name.found
            if known is not None and monotonic() - known.at <= _GOOD_FOR:
                return known.addresses()
        try:
            name.waiting.append(self)
            while self.result is None:
                self._wait(seconds_left)
        finally:
            name.leave(self)
        return self.result.addresses()

    def wake(self) -> None:
        """Have the caller look whether there is a result, or whether it was ended. Any thread."""
        event = self._event
        if event is not None:
            event.set()

    def _wait(self, seconds_left: Callable[[], float]) -> None:
        """Wait for a result, or for a reason to look again; see to it that a look-up is under way."""
        resolver, name = self._resolver, self._name
        self._event = event = resolver.new_event()
        left = seconds_left()
        if self.result is not None:
            return
        if not name.turn.locked():
            if resolver.spawn is None:
                name.work()
                return
            resolver.spawn(name.work)
        elif resolver.spawn is None and name.worker == threading.get_ident():
            self.result = name.ask()  # a signal's handler has interrupted the look-up, which waits for it
            return
        event.wait(min(left, _RECHECK))


class _Name:
    """A name, and all who wait for its addresses.

    Arguments:
        is_shared: whether nobody but the look-up itself can be meant by an exception in its task.
    """

    def __init__(self, host: str, port: int, *, is_shared: bool) -> None:
        self.host = host
        self.port = port
        self.literal = literal_addresses(host, port)
        self.waiting: list[LookUp] = []
        self.turn = Turn()  # whose holder makes the look-up; if it is killed, the turn is free again
        self.worker = 0  # the thread in which it is made, if it is
        self.found: _Found | None = None  # the last one
        self._is_shared = is_shared

    def work(self) -> None:
        """Make a look-up for all who wait by the time that it ends. If one is under way, return at once."""
        if not self.turn.acquire():
            return
        try:
            self.worker = threading.get_ident()
            if [each for each in list(self.waiting) if each.result is None]:
                result = self.ask()
                for each in list(self.waiting):
                    each.result = each.result or result
                    each.wake()
                    self.leave(each)  # it does so itself, unless it was killed just then
        finally:
            self.worker = 0
            self.turn.release()
            for each in list(self.waiting):  # one that came too late has no result: it makes the next
                each.wake()

    def leave(self, look_up: LookUp) -> None:
        """``look_up`` waits no more."""
        with suppress(ValueError):
            self.waiting.remove(look_up)

    def ask(self) -> _Found | _Failed:
        """Make a look-up. What the task is killed with passes through."""
        try:
            self.found = found = _Found(socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            if isinstance(error, TimeoutError) and not self._is_shared:
                raise  # a time limit of the caller's
            return _Failed(error)
        except Exception as error:
            if not self._is_shared:
                raise
            return _Failed(error)
        return found


class _Found:
    def __init__(self, addresses: Addresses) -> None:
        self.at = monotonic()
        self._addresses = addresses

    def addresses(self) -> Addresses:
        return list(self._addresses)


class _Failed:
    """What a look-up has raised. Each waiting call raises a new exception, with frames of its own."""

    def __init__(self, error: Exception) -> None:
        self._class = type(error)
        self._args = error.args
        self._text = str(error)

    def addresses(self) -> Addresses:
        try:
            error = self._class(*self._args)
        except Exception:  # noqa: BLE001 - a class whose arguments are not its own
            error = OSError(self._text)
        raise error


def literal_addresses(host: str, port: int) -> Addresses | None:
    """Return the address that ``host`` is itself, if it is one. It is not looked up."""
    try:
        return _socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except OSError:
        return None
