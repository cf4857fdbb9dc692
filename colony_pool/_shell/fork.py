"""Forked children: whatever must not be shared with the parent is made anew (G24)."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from .loose import Loose


class Renewable(Protocol):
    """Something that a forked child renews."""

    def _after_fork(self) -> None:
        """Replace locks, sockets and timers; runs in the child, before anything else does."""


class Dropped(Renewable, Protocol):
    """Something that must be let go of before a fork, since no child could get rid of it."""

    def _before_fork(self) -> None:
        """Let go of it, and keep other threads from taking it up again; runs in the parent."""

    def _fork_is_over(self) -> None:
        """Let them; runs in the parent, in the thread that has forked."""


_known: weakref.WeakSet[Renewable] | None = None
_dropped: Loose[Dropped] = Loose()


def renew_in_children(thing: Renewable) -> None:
    """Have ``thing`` renewed in every forked child. The hooks are set with the first one, not at import."""
    global _known  # noqa: PLW0603 - a process has one list of fork hooks
    if _known is None:
        _known = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_drop_all, after_in_parent=_take_up_all, after_in_child=_renew_all)
    _known.add(thing)


def drop_before_forks(thing: Dropped) -> None:
    """Have ``thing`` let go of what it has before every fork, and renewed in the child."""
    _dropped.add(thing)
    renew_in_children(thing)


def _drop_all() -> None:
    for thing in _dropped.all():
        thing._before_fork()


def _take_up_all() -> None:
    for thing in _dropped.all():
        thing._fork_is_over()


def _renew_all() -> None:
    for thing in list(_known or ()):
        thing._after_fork()
