"""A clock that all processes of a host read alike, that nobody can set, and that says when the host was started anew.

On Linux it is ``CLOCK_BOOTTIME``, which runs on while the machine sleeps, and the kernel's boot id. Elsewhere the
monotonic clock is the best there is: it counts from the start of the machine, too, but may rest while that sleeps.
There is no boot id, so a record is taken for one of an earlier start when it is newer than the clock.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class BootClock:
    """Seconds since the host was started, and the name of that start."""

    def __init__(self) -> None:
        self._id = getattr(time, "CLOCK_BOOTTIME", None)
        self.boot = ""
        with suppress(OSError, ValueError):
            self.boot = _BOOT_ID.read_text(encoding="ascii").strip()

    def now(self) -> float:
        """Seconds since then."""
        return time.monotonic() if self._id is None else time.clock_gettime(self._id)
