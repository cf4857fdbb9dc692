"""FakeColony over real sockets: each behaviour does on the wire what it says."""

from __future__ import annotations

import base64
import json
import socket

import pytest
import urllib3

from colony_pool.testing import FakeColony, subject, totp_code
from tests.conftest import Client, code_of, until

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238's "12345678901234567890"


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


def test_a_connection_ends_with_its_second_request(client: Client) -> None:
    client.colony.behave("close_reused")
    with client.raw() as sock:
        assert sock.recv(65536).startswith(b"HTTP/1.1 403 ")
        sock.sendall(b"GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536) == b""
    assert [403, 0] == [request.status for request in client.colony.requests()]


def test_a_schedule_runs_by_itself_and_behave_ends_it(client: Client) -> None:
    client.colony.schedule([(0.0, "status", {"status": 502}), (0.02, "healthy"), (0.04, "html")], every=0.06)
    for wanted in (502, 200, 502):
        until(lambda wanted=wanted: client.token().status == wanted)  # type: ignore[misc]
    client.colony.behave("status", status=504)
    assert {client.token().status for _ in range(100)} == {504}
