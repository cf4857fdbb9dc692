"""Ends a request from another task, or at its deadline.

A socket is at rest in its pool, or it belongs to one request. A ``CancelToken`` knows how to cut it only in between.
Whoever takes that out of the token, the request or the one who ends it, decides: so nothing that comes late can hit
the next request on the same socket.
"""

from __future__ import annotations

import os
from collections.abc import Callable


class CancelToken:
    """Ends a request from another task: its wait for a slot ends, its socket is shut down, or never opened.

    A transport calls ``watch`` when it begins something that can be cut, and ``let_go`` after it. The pool calls
    ``cancel``.

    Attributes:
        expired: its deadline is over.

    A look-up of the host's name that has begun is not interrupted: the system offers no way.

    In a forked child the request counts as cancelled: a greenlet that was copied along must not make the parent's
    request again.

    Arguments:
        on_begin: called when the request has its slot.
        read_pid: says in which process the request is.
    """

    __slots__ = ("_cancelled", "_on_begin", "_pending_cut", "_pid", "_read_pid", "expired")

    def __init__(self, on_begin: Callable[[], object] | None = None, read_pid: Callable[[], int] = os.getpid) -> None:
        self._cancelled = False
        self._on_begin = on_begin
        self._pending_cut: list[Callable[[], object]] = []  # at most one; ``pop`` is atomic
        self._read_pid = read_pid
        self._pid = read_pid()
        self.expired = False  # its deadline is over

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called, or the request is the parent's."""
        return self._cancelled or self._read_pid() != self._pid

    @property
    def left_behind(self) -> bool:
        """Whether this process was forked since: the request is the parent's."""
        return self._read_pid() != self._pid

    def begin(self) -> None:
        """The request has its slot: what comes now is the endpoint's and the network's."""
        if self._on_begin is not None:
            self._on_begin()

    def watch(self, cut: Callable[[], object]) -> None:
        """Say what to call in order to end what comes now."""
        self._pending_cut[:] = [cut]
        if self._cancelled or self.expired:
            self._cut()

    def let_go(self) -> bool:
        """Nothing is to be cut any more. False if it was cut, or is being cut."""
        try:
            self._pending_cut.pop()
        except IndexError:
            return False
        return not self.left_behind

    def cancel(self) -> None:
        """End the request. Any task, any thread, any number of times."""
        self._cancelled = True
        self._cut()

    def expire(self) -> None:
        """The deadline is over: as ``cancel``, but the request is told that it was too slow."""
        self.expired = True
        self._cut()

    def _cut(self) -> None:
        try:
            cut = self._pending_cut.pop()
        except IndexError:
            return
        cut()
