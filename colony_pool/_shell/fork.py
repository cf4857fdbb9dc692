"""Forked children: whatever must not be shared with the parent is made anew (G24)."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Something that a forked child renews."""

    def _after_fork(self) -> None:
        """Replace locks, sockets and timers; runs in the child, before anything else does."""


_known: weakref.WeakSet[Renewable] | None = None


def renew_in_children(thing: Renewable) -> None:
    """Have ``thing`` renewed in every forked child. The hook is set with the first one, not at import."""
    global _known  # noqa: PLW0603 - a process has one list of fork hooks
    if _known is None:
        _known = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_renew_all)
    _known.add(thing)


def _renew_all() -> None:
    for thing in list(_known or ()):
        thing._after_fork()
