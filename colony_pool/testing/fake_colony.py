"""FakeColony: The Colony's API on loopback, in a process of its own, that misbehaves on request.

>>> with FakeColony() as colony:
...     colony.base_url.startswith("http://127.0.0.1:")
True
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._behaviour import BEHAVIOURS, subject, totp_code

__all__ = ["FakeColony", "FakeColonyError", "FakeRequest", "FakeStats", "totp_code"]

_SERVER = Path(__file__).with_name("_server.py")
_PATIENCE = 30.0


class FakeColonyError(ValueError):
    """The fake was asked for something that it does not know, or has died."""


@dataclass(frozen=True, slots=True)
class FakeRequest:
    """One request that reached the server.

    Attributes:
        at: seconds on the server's clock (``FakeColony.now``).
        method: GET, POST, ...
        path: without the query.
        status: what was answered; 0 for no answer.
        connection: number of the TCP connection.
        agent: a short name of the key or token, which shows nothing of it.
        idempotency_key: the header, or ``None``.
        seconds: how long it was in the server.
    """

    at: float
    method: str
    path: str
    status: int
    connection: int
    agent: str
    idempotency_key: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class FakeStats:
    """Counts since the start or ``reset_stats``."""

    now: float
    requests: int
    in_flight: int
    max_in_flight: int
    connections: int
    open_connections: int
    knocks: int
    tokens_issued: int


class FakeColony:
    """A real HTTP server with ``/auth/token``, ``/users/me``, 2FA, rate limits, and a control side.

    Any key that starts with ``col_`` is accepted unless it was denied. Works from threads and greenlets, and
    under gevent's monkey patching: the server is another process, which ends with this one.

    Arguments:
        expires_in: life of the tokens, seconds.
        tell_expiry: put ``expires_in`` into the answer; otherwise only the JWT says.
        tls: ``(certificate file, key file)`` for https.
    """

    def __init__(
        self, *, expires_in: float | None = 86_400.0, tell_expiry: bool = True, tls: tuple[str, str] | None = None
    ) -> None:
        options = {"expires_in": expires_in, "tell_expiry": tell_expiry, "tls": tls}
        self._process = subprocess.Popen(
            [sys.executable, str(_SERVER), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's to handle
        )
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = self._process.stdout.readline()
        if not line:
            raise FakeColonyError("the server process did not start")
        ports = json.loads(line)
        self.port = int(ports["port"])
        self._control_port = int(ports["control"])
        self.base_url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}/api/v1"
        self._links: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        self._closing = threading.Lock()

    def __enter__(self) -> FakeColony:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server process. Any number of times."""
        with self._closing:
            if self._process.returncode is not None:
                return
            while not self._links.empty():
                self._links.get_nowait().close()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    # -- how it behaves -------------------------------------------------------------------------------

    def behave(self, name: str, *, only: str | None = None, **options: Any) -> None:
        """Behave as ``name`` from now on, on all paths or on those that end in ``only``.

        ``healthy``; ``status`` (``status``, ``headers``, ``html``, ``body``); ``hang``; ``reset``; ``drip``
        (``bytes_per_s``, ``headers``: drip the head, too); ``truncated``; ``html`` (200 with a gateway's page);
        ``huge`` and ``gzip_bomb`` (``size``); ``not_json``; ``not_utf8``; ``expired``; ``no_token``; ``redirect``
        (``status``, ``location``); ``flaky`` (``ratio`` of answers that are ``status``).
        """
        self._ask("behave", name=_known(name, options), options=options, only=only)

    def latency(self, seconds: float) -> None:
        """Take so long for each answer, whatever it is."""
        self._ask("latency", seconds=seconds)

    def capacity(self, rate: float | None, *, max_in_flight: int = 64, knockout: float = 1.0) -> None:
        """Serve ``rate`` token requests a second (bucket of a tenth), and ``max_in_flight`` at once.

        The excess gets 503 after 5 ms; ``rate`` excess arrivals within a second knock the server over: 502 to
        everybody for ``knockout`` seconds. ``None`` lifts it.
        """
        self._ask("capacity", rate=rate, max_in_flight=max_in_flight, knockout=knockout)

    def rate_limit(self, limit: int | None, window: float = 3600.0) -> None:
        """Allow ``limit`` token requests per address and ``window`` seconds, with headers; 429 beyond. ``None`` lifts it."""
        self._ask("rate_limit", limit=limit, window=window)

    def expires_in(self, seconds: float | None, *, tell: bool = True) -> None:
        """Give tokens issued from now on this life; ``tell=False`` leaves ``expires_in`` out of the answer."""
        self._ask("expires_in", seconds=seconds, tell=tell)

    def key(
        self, api_key: str, *, totp_secret: str | None = None, behaviour: str | None = None, **options: Any
    ) -> None:
        """Give one key a second factor, or a behaviour of its own on ``/auth/token`` (``healthy`` ends it)."""
        settings: dict[str, Any] = {}
        if totp_secret is not None:
            settings["totp_secret"] = totp_secret
        if behaviour is not None:
            own = {"name": _known(behaviour, options), "options": options}
            settings["behaviour"] = None if behaviour == "healthy" else own
        self._ask("key", who=subject(api_key), settings=settings)

    def deny(self, api_key: str, *, status: int = 401, code: str | None = "AUTH_INVALID_KEY") -> None:
        """Refuse this key from now on."""
        self._ask("key", who=subject(api_key), settings={"deny": {"status": status, "code": code}})

    def allow(self, api_key: str) -> None:
        """Accept this key again."""
        self._ask("key", who=subject(api_key), settings={"deny": None})

    def revoke_tokens(self) -> None:
        """Answer 401 to all tokens issued so far."""
        self._ask("revoke")

    def stop_listening(self) -> None:
        """Refuse connections, and drop the open ones."""
        self._ask("listen", on=False)

    def start_listening(self) -> None:
        """Accept connections again, on the same port."""
        self._ask("listen", on=True)

    def close_idle(self) -> None:
        """Close all open connections, as a gateway does with idle ones."""
        self._ask("close_idle")

    def pause(self) -> None:
        """Stop the process (SIGSTOP): connections are accepted by the kernel, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._process.send_signal(signal.SIGCONT)

    # -- what it saw ----------------------------------------------------------------------------------

    def now(self) -> float:
        """The server's clock, seconds since it started."""
        return self.stats().now

    def stats(self) -> FakeStats:
        """Return the counts."""
        return FakeStats(**self._ask("stats"))

    def requests(self) -> list[FakeRequest]:
        """Return every request that was answered or broke off, in the order in which they ended."""
        rows: list[FakeRequest] = []
        while page := self._ask("requests", start=len(rows)):
            rows += [FakeRequest(*row) for row in page]
        return rows

    def count(self, path: str | None = None, *, status: int | None = None, since: float = 0.0) -> int:
        """Count the requests whose path ends in ``path``, answered ``status``, arrived at ``since`` or later."""
        return sum(
            (path is None or r.path.endswith(path)) and (status is None or r.status == status) and r.at >= since
            for r in self.requests()
        )

    def timeline(self, bucket: float = 0.1, *, path: str = "/auth/token") -> list[tuple[float, dict[int, int]]]:
        """Count requests by status in steps of ``bucket`` seconds: ``[(start, {status: n}), ...]``."""
        steps: dict[int, dict[int, int]] = {}
        for r in self.requests():
            if r.path.endswith(path):
                step = steps.setdefault(int(r.at / bucket), {})
                step[r.status] = step.get(r.status, 0) + 1
        return [(number * bucket, counts) for number, counts in sorted(steps.items())]

    def reset_stats(self) -> None:
        """Forget the requests and counts so far."""
        self._ask("reset_stats")

    def _ask(self, do: str, **arguments: Any) -> Any:
        if self._process.returncode is not None:
            raise FakeColonyError("this FakeColony is closed")
        try:
            link = self._links.get_nowait()
        except queue.Empty:
            link = socket.create_connection(("127.0.0.1", self._control_port), timeout=_PATIENCE)
        try:
            link.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
            pieces = []
            while not pieces or not pieces[-1].endswith(b"\n"):
                piece = link.recv(1 << 20)
                if not piece:
                    raise FakeColonyError("the server process has died")
                pieces.append(piece)
        except BaseException:
            link.close()
            raise
        self._links.put(link)
        reply = json.loads(b"".join(pieces))
        if "error" in reply:
            raise FakeColonyError(reply["error"])
        return reply["value"]


def _known(name: str, options: dict[str, Any]) -> str:
    if name not in BEHAVIOURS:
        raise FakeColonyError(f"behaviour {name!r}: must be one of {', '.join(BEHAVIOURS)}")
    unknown = set(options) - set(BEHAVIOURS[name])
    if unknown:
        allowed = ", ".join(BEHAVIOURS[name]) or "none"
        raise FakeColonyError(f"behaviour {name!r}: unknown option {', '.join(sorted(unknown))}; allowed: {allowed}")
    return name
