"""Two processes' stores over one record, ``a`` and ``b``, of each kind: memory, SQLite, Redis and Valkey.

Where time has to pass it passes on the store's own clock, and nothing depends on how fast a test runs: what must hold
is held for LONG, what must end lasts SHORT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.private import (
    BootClock,
    HostStore,
    MemoryStore,
    RedisStore,
    Store,
    StoreUnavailable,
    host_file,
    redis,
)
from tests.support.servers import KINDS, Server, until

LONG, SHORT = 1000.0, 1 / 16
URL = "https://api.example/v1"
Make = Callable[..., HostStore]
_urls = (f"https://api.example/{n}" for n in count())


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may take its time: how long it is waited for is not what is tested, where the test does not say so."""
    monkeypatch.setattr(redis, "TIMEOUT", 60.0)


class HandClock(BootClock):
    """The host's clock, set by hand."""

    at = 5000.0

    def now(self) -> float:
        return self.at


@dataclass
class World:
    """Two processes' stores over one record."""

    a: Store
    b: Store
    lapse: Callable[[], None]  # let more than SHORT pass on the store's clock


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    started: dict[str, Server] = {}

    def server(kind: str) -> Server:
        if kind not in started:
            started[kind] = Server(kind, tmp_path_factory.mktemp(kind))
        return started[kind]

    yield server
    for each in started.values():
        each.kill()


@pytest.fixture(params=["memory", "host", *KINDS])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: Callable[[str], Server]
) -> Iterator[World]:
    yield from _world(request.param, tmp_path, monkeypatch, servers, carries_tokens=False)


@pytest.fixture(params=["memory", *KINDS])
def carrier(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: Callable[[str], Server]
) -> Iterator[World]:
    """A world whose store carries tokens."""
    yield from _world(request.param, tmp_path, monkeypatch, servers, carries_tokens=True)


def _world(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: Callable[[str], Server], carries_tokens: bool
) -> Iterator[World]:
    clock, url = HandClock(), next(_urls)

    def lapse() -> None:
        clock.at += 2 * SHORT

    a: Store
    b: Store
    if kind == "memory":
        a = b = MemoryStore(clock.now, carries_tokens=carries_tokens)
    elif kind == "host":
        monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path))
        a, b = HostStore(url, clock=clock), HostStore(url, clock=clock)
    else:
        server = servers(kind)
        a, b = (RedisStore(server.url, url, share_tokens=carries_tokens) for _ in "ab")
        plain = server.client()

        def server_time() -> float:
            seconds, micros = plain.time()
            return float(seconds + micros / 1e6)

        def lapse() -> None:
            end = server_time() + 2 * SHORT
            until(lambda: server_time() > end)

    yield World(a, b, lapse)
    a.close()
    b.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the host keeps the record of URL."""
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))
    return host_file(URL)


@pytest.fixture
def make(path: Path) -> Iterator[Make]:
    """Stores of this host, closed in the end."""
    del path  # it moved the state
    made: list[HostStore] = []

    def new(base_url: str, **options: Any) -> HostStore:
        made.append(HostStore(base_url, **options))
        return made[-1]

    yield new
    for store in made:
        store.close()


@pytest.fixture
def store(make: Make) -> HostStore:
    """A store that knows of a hold."""
    store = make(URL)
    store.hold(LONG, "429")
    return store


def refused(store: Store) -> str:
    """What both a reading and a writing verb say."""
    with pytest.raises(StoreUnavailable) as reading:
        store.look()
    with pytest.raises(StoreUnavailable) as writing:
        store.hold(1.0, "x")
    assert str(reading.value) == str(writing.value)
    return str(writing.value)
