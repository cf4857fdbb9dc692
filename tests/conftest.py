"""What several test modules share: a FakeColony, and a plain client of it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

from colony_pool.testing import FakeColony

# What a server counts by the second has the machine to itself; what counts this process's own descriptors and memory
# has the process: the scenarios are started from it.
ALONE = (
    "test_outage", "test_many_processes", "test_hosts_in_namespaces", "test_demo", "test_demo_processes",
    "test_metrics_of_processes", "test_soak", "test_hostile", "test_fake_colony_process",
)  # fmt: skip
# Plays of hours and weeks on virtual time: minutes of CPU. They are run when they are asked for, by any name.
LONG = (
    "test_model", "test_fleet", "test_fleet_fallback", "test_fleet_faults", "test_growth", "test_replays",
    "test_simulation",
)  # fmt: skip


def pytest_configure() -> None:
    """A shell has what it runs in the background ignore Ctrl-C, and children inherit that; tests press Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """First what must be alone; then the scenarios begin, and go on in processes of their own beside the rest."""
    long = [item for item in items if item.path.stem in LONG]
    for item in long:
        item.add_marker("long")
    if config.args_source is config.ArgsSource.TESTPATHS and not (config.option.keyword or config.option.markexpr):
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]
    scenarios = [item for item in items if item.path.stem == "test_scenarios"]
    alone = [item for item in items if item.path.stem in ALONE]
    rest = [item for item in items if item not in alone and item not in scenarios]
    items[:] = alone + scenarios[:1] + rest + scenarios[1:]


class Client:
    """A plain HTTP client: no retries, no redirects."""

    def __init__(self, colony: FakeColony) -> None:
        self.colony = colony
        self.http = urllib3.PoolManager(retries=False, timeout=30.0)

    def ask(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return self.http.request(method, self.colony.base_url + path, **options)

    def token(self, key: str = "col_a", **fields: object) -> urllib3.BaseHTTPResponse:
        return self.ask("POST", "/auth/token", json={"api_key": key, **fields})

    def jwt(self, key: str = "col_a") -> str:
        return str(self.token(key).json()["access_token"])

    def api(self, jwt: str, path: str = "/users/me", method: str = "GET", **options: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {jwt}", **options.pop("headers", {})}
        return self.ask(method, path, headers=headers, **options)

    def raw(self, path: str = "/users/me") -> socket.socket:
        """Send a request by hand, for answers that no client library would show as they are."""
        sock = socket.create_connection(("127.0.0.1", self.colony.port), timeout=30.0)
        sock.sendall(f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return sock


@pytest.fixture(scope="module")
def server() -> Iterator[FakeColony]:
    with FakeColony() as colony:
        yield colony


@pytest.fixture
def client(server: FakeColony) -> Iterator[Client]:
    """A client of a FakeColony that knows nothing of the tests before."""
    server.behave("healthy")
    server.latency(0)
    server.capacity(None)
    server.rate_limit(None)
    server.expires_in(86_400.0)
    server.reset_stats()
    client = Client(server)
    yield client
    client.http.clear()


def until(condition: Callable[[], object]) -> None:
    """Ask until it holds; the test's timeout is the bound."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)  # others need the processor more


def code_of(response: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    return response.status, response.json()["detail"]["code"]
