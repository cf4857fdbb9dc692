"""Mounts and networks of a process's own (Linux namespaces), for faults that must not touch the machine.

They end with the process. Where the system does not grant them, ``Impossible`` says so, and the test is skipped.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

NEWNS, NEWNET = 0x00020000, 0x40000000


class Impossible(Exception):
    """This machine cannot make the fault."""


def unshare(flags: int) -> None:
    """Give this thread, and the threads and processes that it starts from now on, namespaces of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise Impossible(f"no namespaces here: {os.strerror(ctypes.get_errno())}")


def run(*command: str) -> None:
    """Run a tool of the system; what it cannot do is ``Impossible``."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Impossible(f"{' '.join(command)}: {done.stderr.strip()}")


def private_mounts() -> None:
    """From now on this process mounts for itself alone."""
    unshare(NEWNS)
    run("mount", "--make-rprivate", "/")


def mount_tmpfs(folder: Path, options: str) -> None:
    """Mount an empty file system on ``folder``; with ``remount`` in the options, change the one that is there."""
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
