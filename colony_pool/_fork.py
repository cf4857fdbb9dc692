"""Forked children: what must not be shared with the parent is made anew (G24).

Python tells of a fork, before and after it, when Python forks. uWSGI forks in C and tells nobody, or tells it late,
or only afterwards. So whatever takes a connection, a file, a thread, a timer or a lock calls ``notice_fork`` first,
which compares the process id: the first that comes in a child renews everything, once, and the others wait for it.
A cached token takes none of these, and is handed out without a look.

What a child cannot be rid of must be let go of before the fork. Where nobody tells of that, it is not: see
``Dropped`` for what its owner has to do then.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Protocol

from ._log import log_raised
from ._runtime.once import Once
from ._weakset import ThreadSafeWeakSet

log = logging.getLogger("colony_pool")


class Renewable(Protocol):
    """Something that a forked child renews."""

    def _after_fork(self) -> None:
        """Replace locks, sockets and timers; runs in the child, before anything else takes one of them."""


class Dropped(Renewable, Protocol):
    """Something that must be let go of before a fork, since a child is not easily rid of it.

    Its ``_after_fork`` must bear with a fork that it was not told of.
    """

    def _before_fork(self) -> None:
        """Let go of it, and keep other threads from taking it up again; runs in the parent."""

    def _fork_is_over(self) -> None:
        """Let them; runs in the parent, in the thread that has forked."""


class _Process:
    """The process that everything here was made, or renewed, for."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._once: dict[int, Once] = {}  # by child: what a thread of the parent has taken, none here gives back
        self._known: ThreadSafeWeakSet[Renewable] = ThreadSafeWeakSet()
        self._dropped: ThreadSafeWeakSet[Dropped] = ThreadSafeWeakSet()
        self._hooked = False

    def add(self, thing: Renewable) -> None:
        """Renew ``thing`` in every child. The hooks are set with the first one, not at import."""
        if not self._hooked:
            self._hooked = True
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(
                    before=self._drop_all, after_in_parent=self._take_up_all, after_in_child=self.renew
                )
        self._known.add(thing)

    def drop(self, thing: Dropped) -> None:
        """Let go of ``thing`` before every fork, as far as there is a word of it."""
        self._dropped.add(thing)

    def renew(self) -> None:
        """Renew everything, if this is a child and it is not done yet; return when it is."""
        pid = os.getpid()
        once = self._once.get(pid) or self._once.setdefault(pid, Once())
        once.do(lambda: self.pid == pid, lambda: self._renew_for(pid))

    def _renew_for(self, pid: int) -> None:
        for thing in self._known.all():
            try:
                thing._after_fork()
            except Exception as error:  # noqa: BLE001 - the others must be renewed all the same
                # At once: the box that other lines go by may be what was not renewed.
                log_raised("something was not renewed in a forked child; this is a bug, please report it", error)
        self.pid = pid
        self._once = {pid: self._once[pid]}

    def _drop_all(self) -> None:
        for thing in self._dropped.all():
            thing._before_fork()

    def _take_up_all(self) -> None:
        for thing in self._dropped.all():
            thing._fork_is_over()


_process = _Process()


def known_pid() -> int:
    """Return the id of this process without a system call: after a fork of which nobody told, the parent's."""
    return _process.pid


def pid_reader(*, greenlets: bool) -> Callable[[], int]:
    """Return what tells a task whether it has come into a child by a fork.

    A fork copies the thread that forks, and no other. That thread's greenlets are in the child as well, though
    nobody told of the fork: they have to ask the system.
    """
    return os.getpid if greenlets else known_pid


def notice_fork() -> None:
    """In a child that Python was not told of: renew what is to be renewed. Else nothing but a comparison."""
    if os.getpid() != _process.pid:
        _process.renew()


def renew_in_children(thing: Renewable) -> None:
    """Have ``thing`` renewed in every forked child."""
    notice_fork()
    _process.add(thing)


def drop_before_forks(thing: Dropped) -> None:
    """Have ``thing`` let go of what it has before every fork, and renewed in the child."""
    renew_in_children(thing)
    _process.drop(thing)
