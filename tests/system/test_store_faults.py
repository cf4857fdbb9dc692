"""A real Redis that is stopped, paused, emptied or answers after five seconds, in each phase of an outage.

Two real processes, one on threads and one on gevent, share it and fall back on the record of their host. Nobody is
lost; while the endpoint is down one probe is on the wire, as soon as both have noticed; once the store is well they
share it again by themselves. What a fault may cost a call is proved on virtual time (``test_fleet_faults``): this
machine may be busy.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from colony_pool.testing import FakeColony, FakeRequest
from tests.support.private import Store, StoreUnavailable, open_store
from tests.support.servers import Server, until

TOKENS = "/auth/token"
SLOW = 5.0  # seconds
PROCESSES = {
    "threads": ["col_both", *(f"col_thread_{number}" for number in range(8))],
    "gevent": ["col_both", *(f"col_greenlet_{number}" for number in range(8))],
}


class Proxy:
    """A way to ``port`` on which what comes back takes ``delay`` seconds."""

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self._to = port
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, back: bool) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65_536):
                if back and self.delay:
                    self._closed.wait(self.delay)
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed.set()
        self._listener.close()


class Process:
    """A ``tests.support.programs.store_user``."""

    def __init__(self, runtime: str, state: Path, *args: str) -> None:
        command = [sys.executable, "-m", "tests.support.programs.store_user", runtime, *args]
        env = {name: value for name, value in os.environ.items() if not name.startswith("COLONY_")}
        env["COLONY_POOL_STATE_DIR"] = str(state)
        self._popen = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._hear() == "ready\n"

    def send(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n")
        self._popen.stdin.flush()

    def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._hear())
        return answer

    def _hear(self) -> str:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, "it has died"
        return line

    def end(self) -> str:
        """Have it end, and return what it logged."""
        return self._popen.communicate()[1]

    def kill(self) -> None:
        """End it, whatever it waits for."""
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.communicate()


class Stage:
    """The endpoint, the store and the two processes."""

    def __init__(self, colony: FakeColony, server: Server, proxy: Proxy, state: Path) -> None:
        self.colony, self.server, self.proxy = colony, server, proxy
        url = f"redis://127.0.0.1:{proxy.port}/0"
        self.processes = [Process(runtime, state, colony.base_url, url, *keys) for runtime, keys in PROCESSES.items()]
        self._url = f"redis://127.0.0.1:{server.port}/0"

    def ask(self) -> None:
        for process in self.processes:
            process.send("ask")

    def served(self) -> list[dict[str, Any]]:
        """Wait until everybody has a token: nobody was lost."""
        reports = [process.receive() for process in self.processes]
        assert [{}, {}] == [one["errors"] for one in reports]
        return reports

    def share_again(self) -> None:
        """Ask until both say that the store works."""
        while True:
            self.ask()
            if all(one["shared"] == "working" for one in self.served()):
                return

    def down(self) -> None:
        """The endpoint fails, and everybody wants a token."""
        self.colony.behave("status", status=502, only=TOKENS)
        self.ask()

    def more(self, count: int, status: int) -> None:
        """Wait for so many more answers of the endpoint."""
        now = self.colony.count(TOKENS, status=status)
        until(lambda: self.colony.count(TOKENS, status=status) >= now + count)

    def opened(self) -> None:
        store = open_store(self._url, self.colony.base_url, share_tokens=True)
        assert store is not None
        until(lambda: _is_open(store))
        store.close()

    def probed_at_once(self, since: float) -> int:
        """Most attempts that were on the wire at one moment after ``since``."""
        asked = [one for one in self.colony.requests() if one.path.endswith(TOKENS) and one.at >= since]
        return max((sum(_overlap(one, other) for other in asked) for one in asked), default=0)


def _is_open(store: Store) -> bool:
    try:
        return store.look().opening is not None
    except StoreUnavailable:
        return False


def _overlap(one: FakeRequest, other: FakeRequest) -> bool:
    return other.at <= one.at < other.at + other.seconds


def when_it_opens(stage: Stage, fault: Callable[[], None]) -> None:
    stage.down()
    stage.more(1, 502)
    fault()
    stage.more(8, 502)


def while_open(stage: Stage, fault: Callable[[], None]) -> None:
    stage.down()
    stage.opened()
    fault()
    at_once = 0
    while at_once != 1:  # the other process may have to find out for itself first
        since = stage.colony.now()
        stage.more(6, 502)
        at_once = stage.probed_at_once(since)


def while_a_probe_is_out(stage: Stage, fault: Callable[[], None]) -> None:
    stage.down()
    stage.opened()
    stage.colony.behave("hang", only=TOKENS)
    until(lambda: stage.colony.stats().in_flight)
    fault()
    stage.colony.behave("status", status=502, only=TOKENS)
    stage.more(4, 502)


def in_the_recovery(stage: Stage, fault: Callable[[], None]) -> None:
    stage.down()
    stage.opened()
    stage.colony.behave("healthy")
    stage.more(3, 200)
    fault()


def at_a_cold_start(stage: Stage, fault: Callable[[], None]) -> None:
    fault()
    stage.ask()


PHASES = (at_a_cold_start, when_it_opens, while_open, while_a_probe_is_out, in_the_recovery)


def stop(stage: Stage) -> tuple[Callable[[], None], Callable[[], None]]:
    return stage.server.kill, stage.server.start


def pause(stage: Stage) -> tuple[Callable[[], None], Callable[[], None]]:
    return stage.server.pause, stage.server.resume


def empty(stage: Stage) -> tuple[Callable[[], None], Callable[[], None]]:
    def restart() -> None:
        stage.server.kill()
        stage.server.start()

    return restart, lambda: None


def slow(stage: Stage) -> tuple[Callable[[], None], Callable[[], None]]:
    return lambda: setattr(stage.proxy, "delay", SLOW), lambda: setattr(stage.proxy, "delay", 0.0)


FAULTS = (stop, pause, empty, slow)
Fault = Callable[[Stage], tuple[Callable[[], None], Callable[[], None]]]


def play(fault: Fault, home: Path) -> None:
    """Every phase in turn, with the fault in it and the store well again after it."""
    server = Server("redis", home)
    proxy = Proxy(server.port)
    with FakeColony() as colony:
        colony.latency(0.02)
        stage = Stage(colony, server, proxy, home / "state")
        try:
            _play(stage, fault)
        finally:
            for process in stage.processes:
                process.kill()
            proxy.close()
            server.kill()


def _play(stage: Stage, fault: Fault) -> None:
    befall, heal = fault(stage)
    stage.share_again()
    for phase in PHASES:
        phase(stage, befall)
        stage.colony.behave("healthy")
        reports = stage.served()
        if fault is not empty and phase is not in_the_recovery:  # there they may have no question left
            assert ["unavailable", "unavailable"] == [one["shared"] for one in reports], phase.__name__
        heal()
        stage.share_again()
    for process in stage.processes:
        log = process.end()
        assert "col_" not in log
        for words in ("the shared store is unavailable", "the shared store is back"):
            assert fault is empty or log.count(words) >= 4, log


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Fault, Future[None]]]:
    """All of them, side by side: they mostly wait."""
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        yield {fault: pool.submit(play, fault, tmp_path_factory.mktemp(fault.__name__)) for fault in FAULTS}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
def test_g1_g4_g9_whatever_befalls_the_store_in_an_outage_nobody_is_lost(
    plays: dict[Fault, Future[None]], fault: Fault
) -> None:
    plays[fault].result()
