"""An API that keeps one token of a key valid: each exchange revokes the token before (G19).

Two processes, or two pools, with one key then revoke each other's tokens all the time. Every call must work; and who
shares a disk or a store takes the other's token instead of asking for one more.
"""

from __future__ import annotations

import http.server
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import pytest

from colony_pool import ColonyPool
from colony_pool.types import SharedDenial
from tests.support.private import MemoryStore
from tests.support.servers import until

ROUNDS = 10


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SingleActive

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.server.answer(self.path, self.headers.get("Authorization", ""))
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _serve


class SingleActive(http.server.ThreadingHTTPServer):
    """The last token that it has given is the only one that is good. ``lives`` are those of its tokens."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/api/v1"
        self.given = self.refused = 0
        self.lives: Callable[[int], int] = lambda serial: 3600
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            if path.endswith("/auth/token"):
                self.given += 1
                return 200, {"access_token": f"token-{self.given}", "expires_in": self.lives(self.given)}
            if authorization == f"Bearer token-{self.given}":
                return 200, {}
            self.refused += 1
            return 401, {"detail": {"message": "revoked", "code": "AUTH_INVALID_TOKEN"}}


class CountingStore(MemoryStore):
    """Counts the tokens that were left in it."""

    def __init__(self) -> None:
        super().__init__(carries_tokens=True)
        self.tokens = 0

    def release_key(
        self, owner: str, key: str, *, denial: SharedDenial | None = None, token: tuple[str, float] | None = None
    ) -> None:
        super().release_key(owner, key, denial=denial, token=token)
        self.tokens += token is not None


@pytest.fixture
def server() -> Iterator[SingleActive]:
    with SingleActive() as server:
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("COLONY_SDK_NO_TOKEN_CACHE", raising=False)


def status_of(pool: ColonyPool) -> int | str:
    try:
        return pool.agent("col_x").get("/users/me").status
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def worker(url: str, orders: Connection, shared: str | None, cache: Literal["disk"] | None) -> None:
    """One process: makes a call for each order."""
    with ColonyPool(url, registry=None, shared=shared, token_cache=cache) as pool:
        while orders.recv():
            orders.send(status_of(pool))


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "cache", "most"), [(None, None, 20), (None, "disk", 4), ("host", "disk", 4)])
def test_g19_two_processes_revoke_each_others_tokens_and_no_call_fails(
    shared: str | None, cache: Literal["disk"] | None, most: int, server: SingleActive
) -> None:
    context = multiprocessing.get_context("spawn")
    processes = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=worker, args=(server.url, theirs, shared, cache))
        process.start()
        processes.append((ours, process))
    answers = []
    for _ in range(ROUNDS):
        for orders, _ in processes:
            orders.send(True)
            answers.append(orders.recv())
    for orders, process in processes:
        orders.send(False)
        process.join()
    assert [200] * 2 * ROUNDS == answers
    assert server.given <= most, "the other's token is on disk"


@pytest.mark.slow
@pytest.mark.parametrize("lives", ["alike", "shorter and shorter"])
@pytest.mark.parametrize("where", ["disk", "store", "nowhere"])
def test_g19_two_pools_that_revoke_each_others_tokens_look_for_a_newer_one_first(
    where: str, lives: str, server: SingleActive, tmp_path: Path
) -> None:
    """On disk or in the store, though the newer token may end sooner than the one that was refused."""
    if lives != "alike":
        server.lives = lambda serial: 80_000 - 1000 * serial
    options: dict[str, Any] = {"token_cache": "disk" if where == "disk" else None, "registry": None}
    store = CountingStore()
    if where == "store":
        options["shared"] = store
    is_left = {  # a caller does not wait until its token is there for others
        "disk": lambda: any(f'"token-{server.given}"' in path.read_text() for path in tmp_path.rglob("*.json")),
        "store": lambda: store.tokens == server.given,
        "nowhere": lambda: True,
    }
    with ColonyPool(server.url, **options) as one, ColonyPool(server.url, **options) as other:
        assert [200, 200] == [status_of(pool) for pool in (one, other)]
        answers = []
        for pool in (one, other) * 5:
            if where != "nowhere":  # the other's agent does not know of this exchange
                pool.agent("col_x").invalidate()
                assert status_of(pool) == 200
            until(is_left[where])
            answers.append(status_of(one if pool is other else other))
        assert [200] * 10 == answers
        assert server.given <= (12 if where != "nowhere" else 20)


def test_g19_calls_of_many_threads_at_once_share_what_a_revocation_costs(server: SingleActive) -> None:
    with ColonyPool(server.url, registry=None, token_cache=None) as one:
        other = ColonyPool(server.url, registry=None, token_cache=None)
        with other:
            answers: list[int | str] = []
            for pool in (one, other) * 5:
                tasks = [threading.Thread(target=lambda pool=pool: answers.append(status_of(pool))) for _ in range(8)]
                for task in tasks:
                    task.start()
                for task in tasks:
                    task.join()
            assert [200] * 80 == answers
            assert server.given == 10
