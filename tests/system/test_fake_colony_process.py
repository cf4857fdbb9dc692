"""FakeColony over real sockets: its limits, its records, and the process that it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from colony_pool.testing import FakeColony, FakeColonyError, subject
from tests.conftest import Client, until

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238's "12345678901234567890"
ROOT = Path(__file__).parents[2]


# -- limits -------------------------------------------------------------------------------------------------


def test_capacity_serves_its_burst_then_503_then_is_knocked_over(client: Client) -> None:
    client.colony.capacity(rate=5.0, burst=3.0, knockout=3600.0)
    seen = [client.token().status for _ in range(40)]
    assert seen[:3] == [200, 200, 200]
    assert seen.count(503) >= 5
    assert seen[-1] == 502
    assert client.colony.stats().knocks == 1
    assert client.api("x").status == 401, "only token requests are concerned"
    client.colony.capacity(None)
    assert client.token().status == 200


def test_capacity_bounds_what_is_in_flight(client: Client) -> None:
    client.colony.behave("hang", only="/users/me")
    client.colony.capacity(rate=1000.0, max_in_flight=1, knockout=0.0)
    with client.raw():
        until(lambda: client.colony.stats().in_flight == 1)
        assert client.token().status == 503


def test_the_rate_limit_counts_down_and_then_says_429(client: Client) -> None:
    client.colony.rate_limit(2, window=3600.0)
    answers = [client.token() for _ in range(3)]
    assert [a.status for a in answers] == [200, 200, 429]
    assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["1", "0", "0"]
    assert {"2"} == {a.headers["X-RateLimit-Limit"] for a in answers}
    assert 3500 < int(answers[-1].headers["Retry-After"]) <= 3600
    assert 3500 < int(answers[-1].headers["X-RateLimit-Reset"]) - time.time() <= 3601
    client.colony.rate_limit(None)
    assert "X-RateLimit-Limit" not in client.token().headers


# -- what it saw --------------------------------------------------------------------------------------------


def test_records_tell_what_came_and_never_a_key(client: Client) -> None:
    client.api(client.jwt("col_secret"))
    mark = client.colony.now()
    client.token("bad")
    rows = client.colony.requests()
    assert [(r.method, r.status) for r in rows] == [("POST", 200), ("GET", 200), ("POST", 401)]
    assert [subject("col_secret")] * 2 + [subject("bad")] == [r.agent for r in rows]
    assert "col_secret" not in repr(rows)
    assert len({r.connection for r in rows}) == 1, "keep-alive"
    assert abs(rows[0].wall - time.time()) < 60.0
    assert rows[2:] == client.colony.requests(since=mark)
    assert (client.colony.count("/auth/token"), client.colony.count(since=mark)) == (2, 1)
    assert (client.colony.count(status=401), client.colony.count(status=401, since=mark)) == (1, 1)
    stats = client.colony.stats()
    assert {path: sum(n for (p, _), n in stats.answers.items() if p == path) for path, _ in stats.answers} == {
        "/api/v1/auth/token": 2,
        "/api/v1/users/me": 1,
    }
    assert sum(sum(counts.values()) for _, counts in client.colony.timeline()) == 2
    client.colony.reset_stats()
    assert (client.colony.count(), client.colony.stats().max_in_flight) == (0, 0)


def test_more_records_than_one_page_holds(client: Client) -> None:
    for _ in range(2100):
        client.token()
    assert len(client.colony.requests()) == client.colony.count("/auth/token") == 2100


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda c: c.behave("helthy"), "must be one of healthy, status"),
        (lambda c: c.behave("status", code=500), "unknown option 'code'; allowed: status, headers"),
        (lambda c: c.behave("status", status=42), "status=42: must be a whole number from 200 to 599"),
        (lambda c: c.behave("status", headers={"Retry-After": 5}), "must be a dict of strings"),
        (lambda c: c.behave("drip", bytes_per_s=0), "must be a number from"),
        (lambda c: c.behave("reset_handshake", only="/x"), "acts before any request"),
        (lambda c: c.schedule([(2.0, "healthy"), (1.0, "html")]), "in order"),
        (lambda c: c.schedule([(0.0, "healthy"), (1.0, "html")], every=1.0), "longer than"),
        (lambda c: c.capacity(0.0), "rate=0.0: must be from"),
        (lambda c: c.rate_limit(1, window=0.0), "window=0.0"),
        (lambda c: c.deny("col_a", status=200), "status=200"),
        (lambda c: c.key("col_a", totp_secret="1"), "base32"),
        (lambda c: c.key("col_a", status=502), "belong to a behaviour"),
    ],
)
def test_a_wrong_name_or_value_is_refused_with_what_is_allowed(
    client: Client, ask: Callable[[FakeColony], None], says: str
) -> None:
    with pytest.raises(FakeColonyError, match=says):
        ask(client.colony)
    assert client.token().status == 200, "nothing was changed"


# -- the process --------------------------------------------------------------------------------------------


def test_stop_listening_refuses_connections_and_start_listening_takes_the_same_port(client: Client) -> None:
    client.colony.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        client.raw()
    client.colony.start_listening()
    assert client.token().status == 200


def test_a_paused_server_accepts_and_says_nothing_until_it_is_resumed(client: Client) -> None:
    client.colony.pause()
    try:
        with client.raw() as sock:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
        with pytest.raises(FakeColonyError, match="resume"):
            client.colony.stats()
    finally:
        client.colony.resume()
    assert client.token().status == 200


def test_close_ends_the_process_even_a_paused_one_and_closed_is_said() -> None:
    colony = FakeColony()
    colony.pause()
    colony.close()
    colony.close()
    with pytest.raises(ConnectionRefusedError):
        Client(colony).raw()
    with pytest.raises(FakeColonyError, match="closed"):
        colony.stats()


def test_a_server_that_was_killed_is_reported() -> None:
    with FakeColony() as colony:
        server: Any = colony._process._server
        server.kill()
        with pytest.raises(FakeColonyError, match="has died"):
            colony.stats()


def test_two_at_once_share_nothing() -> None:
    with FakeColony() as one, FakeColony() as two:
        one.behave("status", status=502)
        assert (Client(one).token().status, Client(two).token().status) == (502, 200)


def test_many_threads_may_command_and_ask_at_once(client: Client) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                assert Client(client.colony).token(f"col_{number}").status == 200
                client.colony.count()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert client.colony.count("/auth/token", status=200) == 160


@pytest.mark.parametrize("request_text", ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_what_is_not_http_gets_400_and_harms_nobody(client: Client, request_text: str) -> None:
    with socket.create_connection(("127.0.0.1", client.colony.port), timeout=30.0) as sock:
        sock.sendall(request_text.encode())
        assert b"".join(iter(lambda: sock.recv(65536), b"")).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert client.token().status == 200


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    jwt = client.jwt()
    line = "GET /api/v1/{} HTTP/1.1\r\nAuthorization: Bearer " + jwt + "\r\n{}\r\n"
    with socket.create_connection(("127.0.0.1", client.colony.port), timeout=30.0) as sock:
        sock.sendall((line.format("one", "") + line.format("two", "Connection: close\r\n")).encode())
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answers.index(b"/api/v1/one") < answers.index(b"/api/v1/two")


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_forked_child_may_ask_and_close_and_the_parents_server_lives_on() -> None:
    said = run(
        "import os\nfrom colony_pool.testing import FakeColony\n"
        "with FakeColony() as c:\n"
        "    c.stats()\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        ok = c.count() == 0\n"
        "        c.close()\n"
        "        os._exit(0 if ok else 1)\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
        "    print(c.stats().requests)\n"
    )
    assert said == "0"


def test_the_server_ends_with_a_parent_that_was_killed() -> None:
    script = (
        "import os, signal\nfrom colony_pool.testing import FakeColony\n"
        "c = FakeColony()\nprint(c.port, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=90, check=False)
    port = int(done.stdout)

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30.0).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused)


@pytest.mark.parametrize("first", ["patch", "import", "thread"])
def test_it_works_under_gevents_monkey_patching(first: str) -> None:
    """Patched before the import, after it, and with the fake started from a spawned (patched) thread."""
    pytest.importorskip("gevent")
    patch, load = "from gevent import monkey; monkey.patch_all()\n", "from colony_pool.testing import FakeColony\n"
    late = "import warnings; warnings.simplefilter('ignore')  # gevent warns of urllib3's ssl\n"
    start = "made = []; t = threading.Thread(target=lambda: made.append(FakeColony())); t.start(); t.join()\n"
    said = run(
        (load + late + patch if first == "import" else patch + load)
        + "import gevent, threading, urllib3\n"
        + (start + "c = made[0]\n" if first == "thread" else "c = FakeColony()\n")
        + "http = urllib3.PoolManager(maxsize=20)\n"
        "def ask(i):\n"
        "    http.request('POST', c.base_url + '/auth/token', json={'api_key': f'col_{i}'})\n"
        "    return c.count() >= 1\n"
        "jobs = [gevent.spawn(ask, i) for i in range(20)]\n"
        "gevent.joinall(jobs)\n"
        "print(all(job.value for job in jobs), c.count('/auth/token', status=200))\n"
        "c.close()\n"
    )
    assert said == "True 20"


def test_tls(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    pem = str(tmp_path / "server.pem")
    with FakeColony(tls=(pem, pem)) as colony:
        http = urllib3.PoolManager(ca_certs=str(tmp_path / "ca.pem"), retries=False)
        assert http.request("POST", colony.base_url + "/auth/token", json={"api_key": "col_a"}).status == 200
        colony.behave("reset")
        with pytest.raises(urllib3.exceptions.HTTPError):
            http.request("GET", colony.base_url + "/users/me")
        http.clear()


def test_no_descriptor_is_left(client: Client) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with FakeColony() as colony:
            colony.stats()
    assert before == len(os.listdir("/proc/self/fd"))
