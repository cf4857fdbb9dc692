"""Tokens, keys, connections and pools behind ``colony_pool.sdk.ColonyClient``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import colony_sdk
import pytest

from colony_pool import CircuitOpenError, ColonyPool
from colony_pool.sdk import ColonyClient, adopt, default_pool
from colony_pool.testing import FakeColony
from tests.tools.sdk.calls import PNG, POST
from tests.tools.sdk.server import GATEWAYS, TOKEN, ApiServer


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def pool(colony: FakeColony) -> Iterator[ColonyPool]:
    with ColonyPool(colony.base_url, token_cache=None, registry=None) as made:
        yield made


def saved(folder: Path) -> set[Path]:
    """The one token on disk, which is put there a moment after its caller has it."""
    pause = threading.Event()
    for _ in range(6000):
        if found := set(folder.glob("*.json")):
            return found
        pause.wait(0.01)
    raise AssertionError("no token was saved")


def tokens(server: ApiServer) -> int:
    return sum(request.path == TOKEN for request in server.requests)


def test_clients_of_one_key_share_one_token(colony: FakeColony, pool: ColonyPool) -> None:
    for _ in range(5):
        ColonyClient("col_a", pool=pool).get_me()
    assert 1 == colony.count(TOKEN)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["get_me", "upload", "download"])
def test_g19_a_token_that_was_refused_is_renewed_once_and_the_call_replayed(call: str) -> None:
    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        client = ColonyClient("col_a", pool=pool)
        server.revoked.add(client.get_auth_token())
        calls: dict[str, Callable[[], object]] = {
            "get_me": client.get_me,
            "upload": lambda: client.upload_group_avatar(POST, "a.png", PNG, "image/png"),
            "download": lambda: client.get_group_avatar(POST),
        }
        calls[call]()
        assert 2 == tokens(server)
        server.bad_tokens = True
        for _ in range(2):
            with pytest.raises(colony_sdk.ColonyAuthError):
                calls[call]()
            assert 3 == tokens(server), "at once for one that has worked; for one that never has once a minute"


@pytest.mark.slow
@pytest.mark.parametrize("call", ["get_me", "upload"])
def test_g19_a_token_that_the_api_does_not_know_yet_is_not_thrown_away(call: str) -> None:
    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        server.unknown_for = 1
        client = ColonyClient("col_a", pool=pool)
        client.get_me() if call == "get_me" else client.upload_group_avatar(POST, "a.png", PNG, "image/png")
        assert 1 == tokens(server)


@pytest.mark.parametrize("call", ["get_me", "upload", "download"])
def test_g19_a_gateways_own_401_throws_no_token_away(call: str) -> None:
    with ApiServer() as server, ColonyPool(server.base_url, token_cache=None, registry=None) as pool:
        client = ColonyClient("col_a", pool=pool)
        token = client.get_auth_token()
        calls: dict[str, Callable[[], object]] = {
            "get_me": client.get_me,
            "upload": lambda: client.upload_group_avatar(POST, "a.png", PNG, "image/png"),
            "download": lambda: client.get_group_avatar(POST),
        }
        for server.gateway in GATEWAYS:
            with pytest.raises(colony_sdk.ColonyAuthError) as caught:
                calls[call]()
            assert 401 == caught.value.status
        server.gateway = None
        calls[call]()
        assert (token, 1) == (client.get_auth_token(), tokens(server))


def test_a_429_of_the_token_endpoint_is_not_answered_by_another_attempt(colony: FakeColony, pool: ColonyPool) -> None:
    colony.behave("status", status=429, headers={"Retry-After": "3600"}, only=TOKEN)
    client = ColonyClient("col_a", pool=pool)
    for _ in range(3):
        with pytest.raises(colony_sdk.ColonyRateLimitError) as caught:
            client.get_me()
        assert caught.value.retry_after is not None
        assert "rate limited" in str(caught.value)
    assert 1 == colony.count(TOKEN)


def test_an_open_breaker_is_the_sdks_server_error_with_the_pools_as_its_cause(pool: ColonyPool) -> None:
    pool.breaker.open()
    impatient = ColonyClient("col_a", pool=pool, auth_token_retry=colony_sdk.RetryConfig(max_retries=0))
    with pytest.raises(colony_sdk.ColonyServerError, match="next probe in") as caught:
        impatient.get_me()
    assert isinstance(caught.value.__cause__, CircuitOpenError)


def test_a_key_that_was_refused_has_the_sdks_class_code_and_hint(colony: FakeColony, pool: ColonyPool) -> None:
    colony.deny("col_bad")
    said = []
    for client in (
        ColonyClient("col_bad", pool=pool),
        colony_sdk.ColonyClient("col_bad", base_url=colony.base_url, cache_token=False),
    ):
        with pytest.raises(colony_sdk.ColonyAuthError) as caught:
            client.get_me()
        said.append((type(caught.value).__name__, str(caught.value), caught.value.status, caught.value.code))
    assert said[0] == said[1]


def test_a_key_that_cannot_be_one_is_an_auth_error_and_is_not_sent(colony: FakeColony, pool: ColonyPool) -> None:
    client = ColonyClient("placeholder", pool=pool)
    with pytest.raises(colony_sdk.ColonyAuthError, match="check your API key"):
        client.get_me()
    assert 0 == colony.count(TOKEN)


def test_a_closed_pool_is_a_network_error(pool: ColonyPool) -> None:
    client = ColonyClient("col_a", pool=pool)
    pool.close()
    with pytest.raises(colony_sdk.ColonyNetworkError, match="closed"):
        client.get_me()


def test_nobody_there_is_a_network_error(colony: FakeColony, pool: ColonyPool) -> None:
    client = ColonyClient("col_a", pool=pool)
    client.get_me()
    colony.stop_listening()
    with pytest.raises(colony_sdk.ColonyNetworkError, match="refused"):
        client.get_me()


@pytest.mark.parametrize("change", ["rotate_key", "confirm_key_recovery"])
def test_a_new_key_leaves_no_token_of_the_old_one(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even of one whose token another client has asked for."""
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("COLONY_SDK_NO_TOKEN_CACHE", raising=False)
    with ApiServer() as server, ColonyPool(server.base_url, registry=None) as pool:
        ColonyClient("col_old", pool=pool).get_me()
        before = saved(tmp_path)
        client = ColonyClient("col_old", pool=pool)
        answer = client.rotate_key() if change == "rotate_key" else client.confirm_key_recovery("from the mail")
        assert client.api_key == answer["api_key"] != "col_old"
        assert set() == before & set(tmp_path.iterdir())
        client.get_me()
        assert 2 == tokens(server)
        assert pool.agent("col_old").token() != client.get_auth_token()
        assert 3 == tokens(server), "the old key's token is gone from memory, too"


def test_refresh_token_asks_anew_for_all_clients_of_the_key(colony: FakeColony, pool: ColonyPool) -> None:
    one, other = ColonyClient("col_a", pool=pool), ColonyClient("col_a", pool=pool)
    old = other.get_auth_token()
    one.refresh_token()
    assert old != other.get_auth_token() == one.get_auth_token()
    assert 2 == colony.count(TOKEN)


def test_adopted_it_is_still_of_its_class_and_uses_the_pool(colony: FakeColony, pool: ColonyPool) -> None:
    class Mine(colony_sdk.ColonyClient):
        def hello(self) -> str:
            return str(self.get_me()["username"])

    client = Mine("col_a", base_url=colony.base_url)
    assert adopt(client, pool) is client
    assert isinstance(client, Mine)
    assert isinstance(client, ColonyClient)
    assert client.hello()
    assert 1 == pool.status().tokens.fresh


def test_adopt_refuses_what_it_cannot_stand_behind(pool: ColonyPool) -> None:
    class Own(colony_sdk.ColonyClient):
        def _ensure_token(self) -> None:
            self._token = "mine"

    with pytest.raises(TypeError, match="its own _ensure_token"):
        adopt(Own("col_a", base_url=pool.base_url), pool)
    with pytest.raises(ValueError, match="this pool is for"):
        adopt(colony_sdk.ColonyClient("col_a"), pool)


def test_what_belongs_to_the_pool_is_refused_at_the_client(colony: FakeColony, pool: ColonyPool) -> None:
    with pytest.raises(ValueError, match="this pool is for"):
        ColonyClient("col_a", base_url="https://example.org/api/v1", pool=pool)
    with ColonyPool(colony.base_url, registry=None) as disk, pytest.raises(ValueError, match="cache_token=False"):
        ColonyClient("col_a", cache_token=False, pool=disk)


def test_without_a_pool_all_clients_of_an_api_share_one(colony: FakeColony, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ColonyClient("col_a", base_url=colony.base_url, cache_token=False)
    other = ColonyClient("col_b", base_url=f"{colony.base_url}/", cache_token=False)
    assert one.pool is other.pool is default_pool(colony.base_url, cache_token=False)
    assert ColonyClient("col_a", base_url=colony.base_url).pool is not one.pool, "this one keeps tokens on disk"
    monkeypatch.setenv("COLONY_BASE_URL", colony.base_url)
    assert ColonyClient("col_c").base_url == colony.base_url
    one.pool.close()
    assert ColonyClient("col_d", base_url=colony.base_url, cache_token=False).get_me()
    for policy in (True, False):
        default_pool(colony.base_url, cache_token=policy).close()
    default_pool().close()


LIFE = """
import os, sys
from colony_pool.sdk import ColonyClient
client = ColonyClient("col_parent")
client.get_me()
if sys.argv[1] == "fork":
    child = os.fork()
    if not child:
        os._exit(ColonyClient("col_child").get_me()["username"] == client.get_me()["username"])
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
else:
    from gevent import monkey
    monkey.patch_all()
    if "nothing" in sys.argv[1]:
        raise SystemExit
    import gevent
    jobs = [gevent.spawn(ColonyClient(f"col_{n}").get_me) for n in range(20)]
    gevent.joinall(jobs, raise_error=True)
    assert 20 == len({job.value["username"] for job in jobs})
    from tests.support.private import engine_of
    assert "gevent" == engine_of(client.pool).runtime.name
client.get_me()
"""


@pytest.mark.parametrize("what", ["fork", "gevent that patches late", "gevent that patches late, and nothing after"])
def test_g24_the_shared_pool_survives(what: str, colony: FakeColony, tmp_path: Path) -> None:
    """And the interpreter ends at once, without a word on a socket left open."""
    environment = {**os.environ, "COLONY_BASE_URL": colony.base_url, "COLONY_SDK_TOKEN_CACHE_DIR": str(tmp_path)}
    warn = "error" if what == "fork" else "ignore"  # gevent warns of what it is shown here on purpose
    done = subprocess.run(
        [sys.executable, "-W", warn, "-c", LIFE, what], env=environment, check=False, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert (0, []) == (done.returncode, complaints(done.stderr))


def complaints(stderr: str) -> list[str]:
    """The last line of each; but for what Python says of a native thread that ends after gevent has patched."""
    lines = [
        line for line in stderr.splitlines() if re.match(r"[\w.]*(Error|Exit|Warning)\b", line) or "Warning:" in line
    ]
    return [line for line in lines if not re.fullmatch(r"KeyError: \d+", line)]


def test_a_key_rotated_while_another_thread_asks_costs_that_thread_nothing(
    colony: FakeColony, pool: ColonyPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ColonyClient("col_old", pool=pool)
    colony.deny("col_old")
    agent_of = client._reference.agent
    old = agent_of("col_old", None)

    class Rotating:
        def token(self, *, max_wait: float | None = None) -> str:
            client.api_key = "col_new"  # what another thread's rotate_key does, while this one waits
            return old.token(max_wait=max_wait)

    def agent(api_key: str, totp: object) -> object:
        return Rotating() if api_key == "col_old" else agent_of(api_key, totp)

    monkeypatch.setattr(client._reference, "agent", agent)
    assert client.get_me()
