"""One moment, by both clocks."""

from __future__ import annotations

from typing import NamedTuple


class Instant(NamedTuple):
    """A moment. Neither clock is ever read without the other.

    Arguments:
        monotonic: seconds of a clock that is never set back. It stands still while a laptop sleeps.
        wall: unix time, seconds. It goes on while a laptop sleeps, and somebody may set it.
    """

    monotonic: float
    wall: float
