"""Memory: of the whole process, and of what is parked in it."""

from __future__ import annotations

import os
from pathlib import Path


def resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
