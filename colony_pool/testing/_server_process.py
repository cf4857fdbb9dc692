"""The test's side of FakeColony: the server process, and the connections that carry commands to it.

The process is started by path and under another package name, so that it imports neither this package nor
site-packages. Where this program is no Python, the server is a thread of it. Every wait has a bound. A forked child
opens connections of its own, and its ``end`` leaves the parent's server running.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._server_thread import ServerThread

_PATIENCE = 30.0  # seconds
_INTERPRETERS = ("python", "pypy", "graalpy")
_BOOT = (
    "import sys, types; fake = types.ModuleType('fake'); fake.__path__ = [sys.argv[1]]; sys.modules['fake'] = fake; "
    "from fake._control import main; main()"
)


class FakeColonyError(ValueError):
    """A wrong name or value, or a FakeColony that is closed, paused or dead."""


def _hub() -> object:
    """Return the gevent hub that sockets made here belong to, once gevent has patched them: no other may use them."""
    gevent = sys.modules.get("gevent")
    patched = sys.modules.get("gevent._socket3")
    if gevent is None or patched is None or socket.socket is not patched.socket:
        return None
    hub: object = gevent.get_hub()
    return hub


def _is_python() -> bool:
    """Whether this program can be started once more as an interpreter. A frozen application would start itself."""
    name = os.path.basename(sys.executable or "").lstrip(".").lower()
    return not getattr(sys, "frozen", False) and name.startswith(_INTERPRETERS) and os.access(sys.executable, os.X_OK)


class ChildProcess:
    """The server as a process of its own."""

    def __init__(self, options: dict[str, Any]) -> None:
        quiet = ["-B"] if sys.dont_write_bytecode else []
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own text
            [sys.executable, "-I", "-S", *quiet, "-c", _BOOT, str(Path(__file__).parent), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # the parent handles a Ctrl-C in the terminal
        )

    def ports(self, patience: float) -> dict[str, int]:
        """Wait for it, ``patience`` seconds at most."""
        watch = threading.Timer(patience, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            assert self._process.stdout is not None  # noqa: S101 - it was asked for
            line: bytes = self._process.stdout.readline()
        finally:
            watch.cancel()
            watch.join()  # leave no thread behind that a test could count
        if not line:
            raise EOFError("its error output says why")
        ports: dict[str, int] = json.loads(line)
        return ports

    def pause(self, on: bool) -> None:
        os.kill(self._process.pid, signal.SIGSTOP if on else signal.SIGCONT)

    def kill(self) -> None:
        """End it, without waiting; a stopped process, too."""
        self._process.kill()

    def end(self) -> None:
        """End it, and wait for that."""
        self._process.kill()
        self._process.wait()

    def hang_up(self) -> None:
        """Close this process's ends of the pipes."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _thread(options: dict[str, Any]) -> ServerThread:
    from ._server_thread import ServerThread  # asyncio and the server are for nobody else in this process

    return ServerThread(options)


class ServerProcess:
    """The server process, from its start to its end."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._pid, self._hub = os.getpid(), _hub()
        self._closing = threading.Lock()  # guards the end of _server
        self._idle: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        self._ended = self._paused = False
        self._server: ChildProcess | ServerThread = ChildProcess(options) if _is_python() else _thread(options)
        try:
            ports = self._server.ports(_PATIENCE)
        except Exception as problem:
            self.end()
            raise FakeColonyError(f"the server process did not start; {problem}") from problem
        except BaseException:
            self.end()
            raise
        self.port = int(ports["port"])
        self._control_port = int(ports["control"])

    def pause(self, on: bool) -> None:
        if self._ended:
            raise FakeColonyError("this FakeColony is closed")
        if not isinstance(self._server, ChildProcess):
            raise FakeColonyError("pause: this program is no Python, so that its FakeColony is no process of its own")
        self._paused = on
        self._server.pause(on)

    def end(self) -> None:
        """End the server and close everything, any number of times. In a fork, close only the copies."""
        with self._closing:
            if self._ended:
                return
            self._ended = True
            self._hang_up()
            if isinstance(self._server, ChildProcess):
                self._server.hang_up()
            if os.getpid() == self._pid:
                self._server.end()

    def abandon(self) -> None:
        """End the server of a FakeColony that was not closed, without waiting: the garbage collector calls this.

        ``subprocess`` would warn, and keep the process.
        """
        if not self._ended and os.getpid() == self._pid:
            self._server.kill()

    def _hang_up(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send one command, and return its result."""
        self._check()
        try:
            reply = json.loads(self._exchange(json.dumps({"do": do, **arguments}).encode() + b"\n"))
        except (OSError, EOFError) as problem:
            self._check()  # it was closed meanwhile
            raise FakeColonyError(f"the server process has died or hangs ({problem or 'no answer'})") from problem
        if self._ended:
            self._hang_up()  # it was closed while this connection was not in the queue
        if "error" in reply:
            raise FakeColonyError(reply["error"])
        return reply["value"]

    def _check(self) -> None:
        if self._ended:
            raise FakeColonyError("this FakeColony is closed")
        if self._paused:
            raise FakeColonyError("this FakeColony is paused: resume() it first")

    def _exchange(self, line: bytes) -> bytes:
        if os.getpid() != self._pid or _hub() is not self._hub:
            return self._converse(socket.create_connection(("127.0.0.1", self._control_port), _PATIENCE), line, None)
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = socket.create_connection(("127.0.0.1", self._control_port), timeout=_PATIENCE)
        return self._converse(connection, line, self._idle)

    @staticmethod
    def _converse(connection: socket.socket, line: bytes, idle: queue.LifoQueue[socket.socket] | None) -> bytes:
        pieces: list[bytes] = []
        try:
            connection.sendall(line)
            while not pieces or not pieces[-1].endswith(b"\n"):
                pieces.append(connection.recv(1 << 20))
                if not pieces[-1]:
                    raise EOFError("it closed the connection")
        except BaseException:
            connection.close()
            raise
        if idle is None:
            connection.close()
        else:
            idle.put(connection)
        return b"".join(pieces)
