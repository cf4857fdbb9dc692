"""Connects to the first address of a host that answers (happy eyeballs, RFC 8305).

IPv6 is often announced and goes nowhere. So the next address is tried a quarter of a second after the one before, or
at once when that fails. All of them together have the time of one. What has answered is tried first for ten minutes.
"""

from __future__ import annotations

import _socket  # the C sockets: shutting one down must not touch the hub of another thread, nor undo TLS
import errno
import math
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain, zip_longest
from time import monotonic
from typing import Any

from .._runtime.descriptors import replace_handle
from .resolver import Addresses, LookUp, Resolver

ATTEMPT_DELAY = 0.25  # seconds from one address to the next; RFC 8305, section 5
_REMEMBERED = 600.0  # seconds
_LONGEST_WAIT = 3600.0  # seconds; ``poll`` takes no more than 24 days
_POLLOUT = getattr(select, "POLLOUT", 4)  # Windows has no ``poll``, but gevent has
_HOSTS = 64  # of which it is remembered what has answered
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# What this host lacks says less than what a server has answered.
_LOCAL = (
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM,
    *_EXHAUSTED,
)  # fmt: skip


class Dialer:
    """Makes connections, and remembers which address of a host has answered.

    Arguments:
        resolver: looks names up.
        new_poll: makes a ``select.poll`` in which only the current task waits.
    """

    def __init__(self, resolver: Resolver, new_poll: Callable[[], Any]) -> None:
        self.new_poll = new_poll
        self._resolver = resolver
        self._answered: dict[tuple[str, int], tuple[Any, float]] = {}  # (socket address, monotonic seconds)

    def dial(self, host: str, port: int) -> Dial:
        """Return a connection that is to be made."""
        return Dial(self, host, port, self._resolver.look_up(host, port))

    def look_up(self, host: str, port: int, *, fresh: bool) -> Addresses:
        """Return the addresses of ``host``, without a deadline. See ``LookUp.addresses``."""
        return self._resolver.look_up(host, port).addresses(lambda: math.inf, fresh=fresh)

    def in_order(self, host: str, port: int, addresses: Addresses) -> Addresses:
        """Return ``addresses`` with the one that has answered first, and the families in turn."""
        if len(addresses) == 1:
            return addresses
        address, at = self._answered.get((host, port), (None, -math.inf))
        if monotonic() - at > _REMEMBERED:
            address = None
        return sorted(self.interleaved(addresses), key=lambda entry: entry[4] != address)

    @staticmethod
    def interleaved(addresses: Addresses) -> Addresses:
        """Return ``addresses`` with their families in turn, that of the first one first."""
        families: dict[Any, Addresses] = {}
        for entry in addresses:
            families.setdefault(entry[0], []).append(entry)
        return [entry for entry in chain(*zip_longest(*families.values())) if entry is not None]

    def has_answered(self, host: str, port: int, address: Any) -> None:
        """Remember ``address``."""
        self._answered[host, port] = (address, monotonic())
        if len(self._answered) > _HOSTS:
            self._answered.pop(next(iter(self._answered)), None)

    def has_failed(self, host: str, port: int, address: Any) -> None:
        """Forget ``address``."""
        if self._answered.get((host, port), (None, 0.0))[0] == address:
            self._answered.pop((host, port), None)


class Dial:
    """One connection on its way: a look-up, then sockets of which the first that is connected wins.

    One task makes it. Any other may end it with ``cut``.
    """

    def __init__(self, dialer: Dialer, host: str, port: int, look_up: LookUp) -> None:
        self._dialer = dialer
        self._host = host
        self._port = port
        self._look_up = look_up
        self.sockets: dict[int, tuple[Any, Any]] = {}  # by descriptor: (socket, address)
        self._lever: Any = None  # a second handle on the winner: TLS takes the first away
        self._winner = -1  # its descriptor; TLS goes on with the same

    def addresses(self, seconds_left: Callable[[], float], *, fresh: bool) -> Addresses:
        """Return the addresses, in the order in which they are to be tried. See ``LookUp.addresses``.

        ``fresh``: not the one first that has answered before, since it may be at fault.
        """
        found = self._look_up.addresses(seconds_left, fresh=fresh)
        return self._dialer.interleaved(found) if fresh else self._dialer.in_order(self._host, self._port, found)

    def connect(
        self, addresses: Addresses, seconds_left: Callable[[], float], timeout: float, options: Iterable[Any]
    ) -> Any:
        """Return a socket that is connected to the first of ``addresses`` that answers.

        Arguments:
            addresses: in the order in which they are tried.
            seconds_left: seconds until the deadline; raises if there are none, or if the caller was ended.
            timeout: seconds for all addresses together.
            options: what each socket is given, as ``setsockopt`` takes it.

        Raises ``OSError`` if none answers, and what ``seconds_left`` raises.
        """
        try:
            winner = self._race(addresses, seconds_left, monotonic() + timeout, options)
            self._lever = _socket.socket(fileno=os.dup(winner.fileno()))
            winner.settimeout(min(timeout, seconds_left()))
            self._winner = winner.fileno()
        finally:
            self._discard_losers()
        return winner

    def cut(self) -> None:
        """Shut everything down, from any thread. To close it is its task's to do."""
        self._look_up.wake()
        for sock in (*(sock for sock, _ in list(self.sockets.values())), self._lever):
            with suppress(OSError, TypeError):  # there is none, or it is closed already
                _socket.socket.shutdown(getattr(sock, "_sock", sock), socket.SHUT_RDWR)

    def cut_loose(self) -> None:
        """In a forked child: put dead sockets in the place of those that the parent is still connecting.

        Who connects may go on here, a greenlet that was copied along, and would speak on the parent's connection.
        TLS has taken the winner's handle, so that all there is to take hold of are the descriptors.
        """
        for descriptor in list(self.sockets):
            replace_handle(descriptor)
        self._drop_lever()

    def close(self) -> None:
        """Nothing is to be cut any more: the connection stands, or there is none."""
        self._drop_lever()
        self._discard_losers()

    def _drop_lever(self) -> None:
        lever, self._lever = self._lever, None
        if lever is not None:
            lever.close()

    def _discard_losers(self) -> None:
        for descriptor in list(self.sockets):
            if descriptor != self._winner:
                self._discard(descriptor)

    def _race(
        self, addresses: Addresses, seconds_left: Callable[[], float], until: float, options: Iterable[Any]
    ) -> Any:
        waiting = deque(addresses)
        failure = OSError("the host name has no address")
        next_at = 0.0  # when the next one is tried
        while waiting or self.sockets:
            now = monotonic()
            left = min(seconds_left(), until - now)
            if left <= 0.0:  # where one could not even be tried, that is what there is to say
                raise failure if failure.errno in _EXHAUSTED else TimeoutError("no time left")
            if waiting and (now >= next_at or not self.sockets):
                next_at = now + ATTEMPT_DELAY
                # Where there is nothing to race against the socket itself waits, which is cheaper.
                patience = left if len(waiting) == 1 and not self.sockets else 0.0
                step = partial(self._begin, waiting.popleft(), options, patience)
            else:
                ready = self._wait(min(left, next_at - now) if waiting else left)
                seconds_left()  # first of all: a socket that was cut may look as if it were connected
                if ready is None:
                    continue
                step = partial(self._finish, ready)
            try:
                winner = step()
            except OSError as error:
                failure, next_at = _more_telling(failure, error.with_traceback(None)), 0.0
            else:
                if winner is not None:
                    return winner
        try:
            raise failure
        finally:
            del failure  # a reference cycle otherwise

    def _begin(self, entry: tuple[Any, ...], options: Iterable[Any], patience: float) -> Any:
        """Connect for ``patience`` seconds; return the socket if it is connected by then.

        Raises ``OSError`` if it is not, or for a patience of 0 if it cannot be.
        """
        family, kind, protocol, _, address = entry
        sock = socket.socket(family, kind, protocol)
        descriptor = sock.fileno()
        self.sockets[descriptor] = sock, address
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(patience)
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self._fail(descriptor)
            raise
        self._dialer.has_answered(self._host, self._port, address)
        return sock

    def _finish(self, descriptor: int) -> Any:
        """Return the socket if it is connected; raises ``OSError`` if it cannot be."""
        sock, address = self.sockets[descriptor]
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fail(descriptor)
            raise OSError(number, os.strerror(number))
        self._dialer.has_answered(self._host, self._port, address)
        return sock

    def _wait(self, seconds: float) -> int | None:
        """Return a descriptor that is connected, or has failed; wait for one, at most ``seconds``."""
        poll = self._dialer.new_poll()
        for descriptor in self.sockets:
            poll.register(descriptor, _POLLOUT)
        ready = poll.poll(math.ceil(min(seconds, _LONGEST_WAIT) * 1000.0))
        return ready[0][0] if ready else None

    def _fail(self, descriptor: int) -> None:
        self._dialer.has_failed(self._host, self._port, self.sockets[descriptor][1])
        self._discard(descriptor)

    def _discard(self, descriptor: int) -> None:
        sock, _ = self.sockets.pop(descriptor)  # first: another socket may have its descriptor afterwards
        sock.close()


def _more_telling(old: OSError, new: OSError) -> OSError:
    """Which of the two failures says more about the server."""
    return new if old.errno is None or old.errno in _LOCAL else old


def native_poll() -> Any:
    """Return what waits for descriptors in a thread: a ``select.poll``, which takes any number of any size."""
    return select.poll() if hasattr(select, "poll") else _SelectPoll()


class _SelectPoll:
    """As much of ``select.poll`` as is needed here, for Windows."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def register(self, descriptor: int, _events: int) -> None:
        self._descriptors.append(descriptor)

    def poll(self, milliseconds: float) -> list[tuple[int, int]]:
        ready = select.select([], self._descriptors, self._descriptors, milliseconds / 1000.0)
        return [(descriptor, 0) for descriptor in (*ready[1], *ready[2])]
