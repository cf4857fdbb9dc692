"""FakeColony over real sockets: each behaviour does on the wire what it says, and the records tell the truth."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from colony_pool.testing import FakeColony, FakeColonyError, subject, totp_code

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238's "12345678901234567890"
ROOT = Path(__file__).parent.parent


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
    while not condition():
        pass


def code_of(response: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    return response.status, response.json()["detail"]["code"]


# -- tokens and calls ---------------------------------------------------------------------------------------


def test_a_key_gets_a_jwt_that_names_its_agent_and_its_end(client: Client) -> None:
    answer = client.token("col_a").json()
    head, claims, signature = (base64.urlsafe_b64decode(p + "==") for p in answer["access_token"].split("."))
    said = json.loads(claims)
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 86_400.0)
    assert json.loads(head) == {"alg": "HS256", "typ": "JWT"}
    assert (said["sub"], said["exp"] - said["iat"], len(signature)) == (subject("col_a"), 86_400.0, 32)


def test_each_token_shows_whose_it_is_in_every_field(client: Client) -> None:
    a, b = client.jwt("col_a"), client.jwt("col_b")
    for jwt, key in ((a, "col_a"), (b, "col_b")):
        me = client.api(jwt).json()
        assert {me["id"], me["username"], me["agent"]} == {subject(key)}


def test_expires_in_can_be_left_out(client: Client) -> None:
    client.colony.expires_in(4.0, tell=False)
    assert set(client.token().json()) == {"access_token", "token_type"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"api_key": "xyz"}', 401), (b'{"api_key": 3}', 401), (b"{}", 422), (b"[]", 422), (b"\xff", 422)],
)
def test_a_malformed_key_is_refused(client: Client, body: bytes, expected: int) -> None:
    assert expected == client.ask("POST", "/auth/token", body=body).status


def test_a_denied_key_is_refused_until_it_is_allowed(client: Client) -> None:
    client.colony.deny("col_denied")
    assert code_of(client.token("col_denied")) == (401, "AUTH_INVALID_KEY")
    client.colony.deny("col_denied", status=403, code="SUSPENDED")
    assert code_of(client.token("col_denied")) == (403, "SUSPENDED")
    assert client.token("col_a").status == 200
    client.colony.allow("col_denied")
    assert client.token("col_denied").status == 200


def test_only_a_valid_bearer_token_is_accepted(client: Client) -> None:
    assert client.ask("GET", "/users/me", headers={"X-API-Key": "col_a"}).status == 403
    assert client.ask("GET", "/users/me", headers={"Authorization": "ApiKey col_a"}).status == 403
    assert code_of(client.api("made.up.token")) == (401, "AUTH_INVALID_TOKEN")
    client.colony.behave("expired")
    assert code_of(client.api(client.jwt())) == (401, "AUTH_INVALID_TOKEN")


def test_revoked_tokens_are_refused_and_new_ones_are_not(client: Client) -> None:
    a, b = client.jwt("col_a"), client.jwt("col_b")
    client.colony.revoke_tokens("col_a")
    assert (client.api(a).status, client.api(b).status) == (401, 200)
    client.colony.revoke_tokens()
    assert (client.api(b).status, client.api(client.jwt("col_b")).status) == (401, 200)


def test_totp_code_is_that_of_rfc_6238() -> None:
    """The appendix B vectors, cut to six digits."""
    assert [totp_code(SECRET, at) for at in (59, 1111111109, 1234567890)] == ["287082", "081804", "005924"]


def test_a_second_factor_is_required_and_its_code_good_once(client: Client) -> None:
    client.colony.key("col_2fa", totp_secret=SECRET)
    code = totp_code(SECRET)
    assert code_of(client.token("col_2fa")) == (401, "AUTH_2FA_REQUIRED")
    assert code_of(client.token("col_2fa", totp_code="000000")) == (401, "AUTH_2FA_INVALID")
    assert client.token("col_2fa", totp_code=code).status == 200
    assert code_of(client.token("col_2fa", totp_code=code)) == (401, "AUTH_2FA_INVALID")
    stats = client.colony.stats()
    assert (stats.codes_seen, stats.codes_refused, stats.tokens_issued) == (3, 2, 1)


def test_an_idempotency_key_replays_the_first_answer_and_refuses_another_body(client: Client) -> None:
    jwt = client.jwt()
    keyed = {"Idempotency-Key": "same"}
    first = client.api(jwt, "/echo", "POST", body=b"one", headers=keyed)
    assert first.data == client.api(jwt, "/echo", "POST", body=b"one", headers={**keyed, "X-Later": "1"}).data
    client.colony.behave("truncated", only="/echo")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        client.api(jwt, "/echo", "POST", body=b"one", headers=keyed)
    client.colony.behave("healthy")
    assert first.data == client.api(jwt, "/echo", "POST", body=b"one", headers=keyed).data, (
        "a fault is not remembered"
    )
    assert code_of(client.api(jwt, "/echo", "POST", body=b"two", headers=keyed)) == (409, "CONFLICT")
    assert client.colony.requests()[-1].idempotency_key == "same"


def test_echo_shows_the_request_and_no_secret(client: Client) -> None:
    jwt = client.jwt()
    said = client.api(jwt, "/echo?q=1", "PUT", body=b"hello", headers={"X-Mine": "7"}).json()
    assert (said["method"], said["path"], said["body"]) == ("PUT", "/api/v1/echo?q=1", "hello")
    assert said["headers"]["x-mine"] == "7"
    assert jwt not in str(said)


def test_other_paths_and_methods(client: Client) -> None:
    assert client.ask("GET", "/auth/token").status == 405
    assert client.api(client.jwt(), "/status/418").status == 418
    assert client.ask("GET", "/../elsewhere").status == 404


# -- behaviours ---------------------------------------------------------------------------------------------


def test_status_answers_as_told_and_the_application_sees_nothing(client: Client) -> None:
    client.colony.behave("status", status=503, headers={"Retry-After": "5"}, html=True)
    answer = client.token()
    assert (answer.status, answer.headers["Retry-After"], answer.headers["Content-Type"]) == (503, "5", "text/html")
    client.colony.behave("status", status=500, body='{"error": "text"}')
    assert client.token().json() == {"error": "text"}
    assert client.colony.stats().tokens_issued == 0


def test_only_limits_a_behaviour_to_paths_and_the_longest_match_wins(client: Client) -> None:
    jwt = client.jwt()
    client.colony.behave("status", status=502)
    client.colony.behave("healthy", only="/auth/token")
    client.colony.behave("status", status=504, only="/users/me")
    assert [client.token().status, client.api(jwt).status, client.api(jwt, "/echo").status] == [200, 504, 502]
    client.colony.behave("healthy")
    assert client.api(jwt).status == 200


def test_one_key_can_be_poisoned(client: Client) -> None:
    client.colony.key("col_poison", behaviour="status", status=502)
    assert (client.token("col_poison").status, client.token("col_a").status) == (502, 200)
    client.colony.key("col_poison", behaviour="healthy")
    assert client.token("col_poison").status == 200


def test_hang_never_answers_and_ends_with_its_client(client: Client) -> None:
    client.colony.behave("hang")
    sock = client.raw()
    until(lambda: client.colony.stats().in_flight == 1)
    sock.close()
    until(lambda: client.colony.stats().in_flight == 0)
    assert client.colony.count("/users/me", status=0) == 1


def test_reset_breaks_the_connection_after_the_request(client: Client) -> None:
    client.colony.behave("reset")
    with client.raw() as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    assert client.colony.count("/users/me", status=0) == 1


def test_reset_handshake_breaks_it_before(client: Client) -> None:
    client.colony.behave("reset_handshake")

    def connect_and_read() -> None:  # the reset may come as early as that
        with socket.create_connection(("127.0.0.1", client.colony.port), timeout=30.0) as sock:
            sock.recv(1)

    with pytest.raises(ConnectionResetError):
        connect_and_read()
    assert client.colony.stats().requests == 0


@pytest.mark.parametrize(("headers", "body"), [(True, True), (True, False), (False, True)])
def test_drip_comes_in_small_pieces(client: Client, headers: bool, body: bool) -> None:
    """The slow part comes in pieces of ``bytes_per_s`` / 100; the answer is whole in the end."""
    jwt = client.jwt()
    client.colony.behave("drip", bytes_per_s=2000.0, headers=headers, body=body)
    assert client.api(jwt).json()["id"] == subject("col_a")
    client.colony.behave("drip", bytes_per_s=0.001, headers=headers, body=body)
    with client.raw() as sock:
        got = b""
        while not got.endswith(b"\r\n\r\n{" if body and not headers else b"H"):
            got += sock.recv(1)
        assert client.colony.stats().in_flight == 1
    until(lambda: client.colony.count(status=0) == 1)


def test_truncated_promises_more_than_comes(client: Client) -> None:
    client.colony.behave("truncated")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        client.token()


@pytest.mark.parametrize(
    ("name", "body"),
    [("not_json", b'{"access_token": "abc'), ("not_utf8", b'{"access_token": "\xff\xfe"}')],
)
def test_bodies_that_cannot_be_read(client: Client, name: str, body: bytes) -> None:
    client.colony.behave(name)
    assert (200, body) == ((answer := client.token()).status, answer.data)


def test_html_and_no_token_are_200_without_a_token(client: Client) -> None:
    client.colony.behave("html")
    assert client.token().headers["Content-Type"] == "text/html"
    client.colony.behave("no_token")
    assert client.token().json() == {"token_type": "bearer"}


def test_huge_and_gzip_bomb_are_as_big_as_asked(client: Client) -> None:
    client.colony.behave("huge", size=3_000_000)
    assert len(client.token().json()["x"]) == 3_000_000
    client.colony.behave("gzip_bomb", size=3_000_000)
    answer = client.token(preload_content=False)
    assert int(answer.headers["Content-Length"]) < 10_000
    assert len(client.token().data) == 3_000_000


def test_redirect_points_elsewhere(client: Client) -> None:
    client.colony.behave("redirect", status=307, location="https://example.invalid/")
    answer = client.token()
    assert (answer.status, answer.headers["Location"]) == (307, "https://example.invalid/")


def test_flaky_throws_seeded_dice() -> None:
    def throws(seed: int) -> list[int]:
        with FakeColony(seed=seed) as colony:
            colony.behave("flaky", ratio=0.5, status=504)
            return [Client(colony).token().status for _ in range(40)]

    first = throws(1)
    assert first == throws(1) != throws(2)
    assert set(first) == {200, 504}


def test_latency_is_time_in_flight(client: Client) -> None:
    client.colony.latency(0.05)
    client.colony.behave("latency", seconds=0.1, only="/users/me")
    client.api(client.jwt())
    token, me = client.colony.requests()
    assert token.seconds >= 0.05 - 1e-3
    assert me.seconds >= 0.1 - 1e-3


def test_idle_connections_are_closed_and_busy_ones_are_not(client: Client) -> None:
    client.colony.behave("close_idle")
    with client.raw() as sock:
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert b"Connection: close" not in answer, "it is not announced"
    client.colony.behave("hang")
    with client.raw() as busy, socket.create_connection(("127.0.0.1", client.colony.port), timeout=30.0) as idle:
        until(lambda: client.colony.stats().in_flight == 1 and client.colony.stats().open_connections >= 2)
        client.colony.close_idle()
        assert idle.recv(1) == b""
        assert client.colony.stats().in_flight == 1
        busy.close()


def test_a_schedule_runs_by_itself_and_behave_ends_it(client: Client) -> None:
    client.colony.schedule([(0.0, "status", {"status": 502}), (0.02, "healthy"), (0.04, "html")], every=0.06)
    for wanted in (502, 200, 502):
        until(lambda wanted=wanted: client.token().status == wanted)  # type: ignore[misc]
    client.colony.behave("status", status=504)
    assert {client.token().status for _ in range(100)} == {504}


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
        (lambda c: c.behave("reset_handshake", only="/x"), "comes before any request"),
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
        colony._link._process.kill()
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
