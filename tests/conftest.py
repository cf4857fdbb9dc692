"""What several test modules share: the lanes, the order of a run, a FakeColony and a plain client of it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from colony_pool.testing import FakeColony

TESTS = Path(__file__).parent
# What a server counts by the second has the machine to itself; what counts this process's own descriptors and memory
# has the process: the scenarios are started from it.
ALONE = (
    "test_outage", "test_many_processes", "test_hosts_in_namespaces", "test_demo", "test_demo_processes",
    "test_metrics_of_processes", "test_soak", "test_hostile", "test_fake_colony_process",
)  # fmt: skip
# Whole folders and files; single tests say by themselves what they are.
SLOW = (
    "dashboards/", "system/", "simulation/test_fleet.py", "simulation/test_fleet_fallback.py",
    "simulation/test_fleet_faults.py", "simulation/test_model.py", "simulation/test_replays.py",
    "tools/test_growth.py", "unit/cli/test_status_and_reset.py", "unit/cli/test_store_far_away.py",
)  # fmt: skip
UNIT = (
    "unit/core/", "unit/demo/", "unit/driver/test_attempt.py", "unit/driver/test_driver.py",
    "unit/driver/test_driver_store.py", "unit/driver/test_executor.py", "unit/driver/test_token_cache.py",
    "unit/driver/test_wakeup.py", "unit/http/test_hostile_headers.py", "unit/http/test_private_names.py",
    "unit/metrics/test_counters.py", "unit/metrics/test_counters_of_pools.py", "unit/pool/test_blips.py",
    "unit/pool/test_fairness.py", "unit/pool/test_token_life.py", "unit/runtime/test_threads.py",
    "unit/sdk/test_compat.py", "unit/store/test_host_file_place.py", "unit/testing/test_sim_runtime.py",
)  # fmt: skip
# What a test of UNIT must not do. A pair of sockets within the process is no socket: each event loop has one.
OUTWARD = (
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "socket.bind", "socket.connect", "socket.getaddrinfo",
    "subprocess.Popen",
)  # fmt: skip
_outward: list[str] = []
_MAIN = threading.get_ident()


def _heard(event: str, _: object) -> None:
    if event in OUTWARD and threading.get_ident() == _MAIN:  # scenarios are started aside
        _outward.append(event)


def pytest_configure() -> None:
    """A shell has what it runs in the background ignore Ctrl-C, and children inherit that; tests press Ctrl-C.

    Hosts that are not there are looked for by the tests themselves, whatever proxy this machine has.
    """
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "invalid,test,example,example.org")))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(_heard)


@pytest.hookimpl(tryfirst=True)  # before pytest itself selects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out of a run that names nothing. First what must be alone, then the scenarios.

    The scenarios begin, and go on in processes of their own beside the rest.
    """
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        for mark, places in (("slow", SLOW), ("unit", UNIT)):
            if place.startswith(places):
                item.add_marker(mark)
    if config.args_source is config.ArgsSource.TESTPATHS and not (config.option.keyword or config.option.markexpr):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        left_out = set(slow)
        items[:] = [item for item in items if item not in left_out]
        config.stash[_LEFT_OUT] = len(slow)
    scenarios = [item for item in items if item.path.stem == "test_scenarios"]
    alone = [item for item in items if item.path.stem in ALONE]
    rest = [item for item in items if item not in alone and item not in scenarios]
    items[:] = alone + scenarios[:1] + rest + scenarios[1:]


_LEFT_OUT = pytest.StashKey[int]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if left_out := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} slow tests were left out: python -m pytest tests runs everything")


@pytest.fixture(autouse=True)
def _unit_is_unit(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is marked ``unit`` opens no socket to anybody and starts no process."""
    _outward.clear()
    yield
    if request.node.get_closest_marker("unit"):
        assert _outward == [], "this test is no unit test"


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
