"""The attempts that this process makes at this moment, as far as the dispatcher and other tasks must know them."""

from __future__ import annotations

from typing import Protocol

from .._core.flight import Permit


class Cancellable(Protocol):
    """An attempt that another task can end."""

    def cancel(self) -> None:
        """End it: its socket is shut."""


class Attempts:
    """What each of them waits for, and how to end it. Any task may ask."""

    def __init__(self) -> None:
        self._not_begun: set[Permit] = set()
        self._handles: dict[Permit, Cancellable] = {}

    def has_begun(self, permit: Permit) -> bool:
        """Whether it has what it needs of this host: a thread, a slot, an address."""
        return permit not in self._not_begun

    def waits(self, permit: Permit) -> None:
        """It waits for something of this host."""
        self._not_begun.add(permit)

    def begins(self, permit: Permit) -> None:
        """It waits for the endpoint from now on."""
        self._not_begun.discard(permit)

    def can_be_cancelled(self, permit: Permit, handle: Cancellable) -> None:
        """``handle`` ends it."""
        self._handles[permit] = handle

    def cancel(self, permit: Permit) -> None:
        """End it, if it is out."""
        handle = self._handles.get(permit)
        if handle is not None:
            handle.cancel()

    def ended(self, permit: Permit) -> None:
        """It is over, or was never made."""
        self._not_begun.discard(permit)
        self._handles.pop(permit, None)
