"""A store that is a server, and what becomes of it: told within one time-out, and used again when it is back."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.private import (
    OpenState,
    RedisStore,
    Sealer,
    SharedDenial,
    SharedState,
    StoreUnavailable,
    key_name,
    redis,
)
from tests.support.servers import KINDS, Server, free_port

from .conftest import LONG

OPENING = OpenState(0.0, 1, 40.0, "502", 502)
Make = Callable[..., RedisStore]
_urls = (f"https://faulty.example/{n}" for n in count())


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    server = Server(request.param, tmp_path)
    yield server
    server.kill()


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[RedisStore] = []

    def new(url: str, **options: Any) -> RedisStore:
        made.append(RedisStore(url, next(_urls), **options))
        return made[-1]

    yield new
    for store in made:
        store.close()


def refused(store: RedisStore) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        store.hold(3 * LONG, "lost")
    return str(caught.value)


def endpoint(server: Server) -> str:
    (name,) = server.client().keys("*:door")
    return str(name)


def test_a_server_that_was_killed_is_used_again_when_it_is_back(server: Server, make: Make) -> None:
    """It is empty then, and knows no script; its generations and fences are none that were given out before."""
    store = make(server.url)
    before = store.open("a", 0, OPENING)
    fence, _ = store.claim_probe("a", LONG)
    server.kill()
    assert "refused" in refused(store)
    assert not store._clients  # what failed is not used again
    server.start()
    assert SharedState() == store.look()
    assert store.open("b", 0, OPENING).generation > before.generation
    again, _ = store.claim_probe("b", LONG)
    assert fence is not None
    assert again is not None
    assert again > fence
    assert store.conclude("a", fence, None).opening is not None


def test_a_server_that_stands_still_is_given_up_and_used_again(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the connection is there or must be made; and an answer that comes late is nobody's."""
    monkeypatch.setattr(redis, "TIMEOUT", 0.5)
    store, cold = make(server.url), make(server.url)
    store.hold(LONG, "429")
    server.pause()
    assert "imeout" in refused(store)
    assert "imeout" in refused(cold)
    server.resume()
    assert store.look().hold_cause in ("429", "lost")  # a verb that raised may have been carried out
    assert None is store.claim_probe("a", LONG)[0]
    assert cold.look().hold_cause in ("", "lost")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$5\r\nnoise\r\n"])
def test_a_server_that_is_none_is_asked_once(make: Make, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No retries: they would add up."""
    monkeypatch.setattr(redis, "TIMEOUT", 0.5)
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                asked.append(client)
                client.recv(1)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        refused(make(f"redis://127.0.0.1:{listener.getsockname()[1]}"))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert 1 == len(asked)
    asked[0].close()


def test_nobody_there_is_told(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert f"redis://127.0.0.1:{port}" in refused(make(f"redis://127.0.0.1:{port}"))


def test_a_record_that_is_none_of_ours_is_left_alone(server: Server, make: Make) -> None:
    store, plain = make(server.url), server.client()
    store.hold(LONG, "429")
    name = endpoint(server)
    plain.set(name, "somebody's")
    assert "WRONGTYPE" in refused(store)
    plain.delete(name)
    plain.hset(name, mapping={"is_open": "1"})  # of whatever version: what it does not say is 0, or no text
    opened = store.look().opening
    assert opened is not None
    assert (0, "", 0, 0.0) == (opened.level, opened.cause, opened.status, opened.probe_in)
    plain.delete(name)
    assert SharedState() == store.look()


def test_a_full_server_is_told(server: Server, make: Make) -> None:
    store, plain = make(server.url), server.client()
    store.hold(LONG, "429")
    plain.config_set("maxmemory", 1)
    assert "maxmemory" in refused(store)
    plain.config_set("maxmemory", 0)
    assert "more" == store.hold(4 * LONG, "more").hold_cause


def test_a_replica_is_told_from_a_server_that_takes_what_it_is_told(server: Server, make: Make) -> None:
    """As after a failover: who reads from it learns nothing of that."""
    store, plain = make(server.url), server.client()
    store.hold(LONG, "429")
    plain.execute_command("REPLICAOF", "127.0.0.1", free_port())
    assert "429" == store.look().hold_cause
    with pytest.raises(StoreUnavailable, match="read only"):
        store.join("a", 0.0)
    plain.execute_command("REPLICAOF", "NO", "ONE")
    store.join("a", 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_passwords_are_used_and_never_shown(kind: str, tmp_path: Path, make: Make) -> None:
    """G23."""
    server = Server(kind, tmp_path, "--requirepass", "s3cret")
    try:
        address = f"127.0.0.1:{server.port}"
        assert "uth" in refused(make(f"redis://{address}"))
        wrong = make(f"redis://user:wr0ng@{address}/0?password=wr0ng")
        with pytest.raises(StoreUnavailable) as caught:
            wrong.look()
        assert "wr0ng" not in "".join(traceback.format_exception(caught.value)) + repr(wrong)
        assert f"redis://***@{address}/0" in str(caught.value)
        assert SharedState() == make(f"redis://:s3cret@{address}").look()
    finally:
        server.kill()


def test_a_server_whose_clock_was_set_back_prolongs_nothing(server: Server, make: Make) -> None:
    """By an hour: as if everything had been written an hour ahead of now."""
    store, plain = make(server.url), server.client()
    store.open("a", 0, OPENING)
    store.claim_probe("a", LONG)
    name = endpoint(server)
    for field in ("at", "probe_at", "opened_at", "lease_until"):
        plain.hincrbyfloat(name, field, 3600)
    view = store.look()
    assert view.opening is not None
    assert 0.0 < view.lease_for <= LONG
    assert 0.0 == view.opening.probe_in
    assert 40.0 <= view.opening.opened_for < 100.0


def test_a_member_outlives_no_clock_that_was_set_back(server: Server, make: Make) -> None:
    store, plain = make(server.url), server.client()
    store.join("a", LONG)
    members = endpoint(server).replace(":door", ":members")
    plain.hincrbyfloat(endpoint(server), "at", 3600)
    plain.zincrby(members, 3600, "a")
    assert 1 == store.look().members
    assert plain.zscore(members, "a") <= plain.time()[0] + LONG + 1


def test_claims_and_denials_outlive_no_clock_that_was_set_back(server: Server, make: Make) -> None:
    store, plain = make(server.url), server.client()
    store.claim_key("a", "claimed", LONG)
    store.release_key("a", "denied", denial=SharedDenial(LONG, 1, 401, None, "no"))
    for name in plain.keys("*:key:*"):
        for field in ("at", "claimed_until", "denied_until"):
            plain.hincrbyfloat(name, field, 3600)
    assert 0.0 < store.claim_key("b", "claimed", LONG).busy_for <= LONG
    denial = store.claim_key("b", "denied", LONG).denial
    assert denial is not None
    assert 0.0 < denial.seconds <= LONG


def test_everything_ends_by_itself(server: Server, make: Make) -> None:
    """Whatever was done, no name is kept for ever; and the time to live covers the longest promise."""
    store, plain = make(server.url, share_tokens=True), server.client()
    month = 30 * 86_400.0
    store.claim_key("a", "claimed", LONG)
    store.claim_key("a", "token", 1.0)
    store.release_key("a", "token", token=("sealed", month))
    store.release_key("a", "denied", denial=SharedDenial(LONG, 1, 401, None, "no"))
    store.open("a", 0, OPENING)
    store.claim_probe("a", 1.0)
    store.join("a", LONG)
    (members,) = plain.keys("*:members")
    plain.zadd(members, {"one that ended": 1.0})
    store.join("b", 1.0)
    assert {"a", "b"} == set(plain.zrange(members, 0, -1))
    store.hold(month, "429")
    left = {name.partition("}:")[2]: plain.ttl(name) for name in plain.keys("*")}
    assert {"door", "members", "denied", "key:claimed", "key:token", "key:denied", "claims:a"} == set(left)
    assert month - 60 < left["door"] <= month
    assert month - 60 < left["key:token"] <= month
    assert all(LONG - 60 < left[name] for name in left), left
    store.forget_key("token")
    store.release_key("a", "claimed")
    assert {"door", "members", "denied", "key:denied"} == {name.partition("}:")[2] for name in plain.keys("*")}


def test_the_server_sees_neither_keys_nor_tokens(server: Server, make: Make) -> None:
    """G23: not even in what it is sent."""
    api_key, jwt, url = "col_very_secret", "eyJ.very.secret", "https://api.example"
    plain = server.client()
    store, sealer = make(server.url, share_tokens=True), Sealer(api_key, url)
    with plain.monitor() as monitor:
        lines = monitor.listen()
        name = key_name(api_key, url)
        store.claim_key("a", name, LONG)
        store.release_key("a", name, token=(sealer.seal(jwt), LONG))
        plain.echo("end")
        sent = ""
        for line in lines:
            sent += str(line)
            if "end" in line["command"]:
                break
    assert name in sent
    assert not any(secret in sent for secret in (api_key, jwt, "very", "secret"))
    (key,) = plain.keys("*:key:*")
    assert sealer.unseal(plain.hget(key, "token")) == jwt


def test_a_store_without_tokens_is_not_even_sent_one(server: Server, make: Make) -> None:
    plain, store = server.client(), make(server.url)
    with plain.monitor() as monitor:
        store.release_key("a", "k", token=("t0ken", LONG))
        plain.echo("end")
        sent = ""
        for line in monitor.listen():
            sent += str(line)
            if "end" in line["command"]:
                break
    assert "t0ken" not in sent


def test_a_forked_child_has_connections_of_its_own(server: Server, make: Make) -> None:
    """G24."""
    store = make(server.url)
    store.join("parent", LONG)
    child = multiprocessing.get_context("fork").Process(target=store.join, args=("child", LONG))
    child.start()
    child.join()
    assert 0 == child.exitcode
    assert 2 == store.look().members


def test_threads_share_a_connection(server: Server, make: Make) -> None:
    """Those that ask in an outage live for half a second, and a connection costs the server more than a verb."""
    store = make(server.url)
    for number in range(40):
        thread = threading.Thread(target=store.join, args=(f"thread {number}", LONG))
        thread.start()
        thread.join()
    assert 40 == store.look().members
    assert 2 == len(server.client().client_list())  # this one and the store's


def test_a_connection_that_was_idle_for_long_is_not_used_again(server: Server, make: Make) -> None:
    """A gateway that has forgotten it meanwhile would cost the first verb of an outage its answer."""
    store = make(server.url)
    store.look()
    (client,) = store._clients.values()
    store.look()
    assert [client] == list(store._clients.values())
    client.used_at -= redis._IDLE
    store.look()
    assert [client] != list(store._clients.values())


def test_tls_is_verified(tmp_path: Path, make: Make) -> None:
    """G22: a server with a certificate of nobody's is told no password."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    port = str(free_port())
    files = [f"--tls-{kind}-file" for kind in ("key", "cert")]
    server = Server(
        "redis", tmp_path, "--tls-port", port, "--tls-auth-clients", "no",
        files[0], str(tmp_path / "key.pem"), files[1], str(tmp_path / "cert.pem"),
    )  # fmt: skip
    try:
        url = f"rediss://localhost:{port}"
        assert "certificate verify failed" in refused(make(url))
        assert SharedState() == make(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}").look()
    finally:
        server.kill()
