"""Options, errors, imports, the disk cache, metrics: what needs no server or a short one."""

from __future__ import annotations

import copy
import json
import pickle
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import colony_pool as cp
from colony_pool import errors
from colony_pool.testing import FakeColony
from tests.support.private import TokenCache

Pool: Any = cp.ColonyPool  # given what a type checker would refuse
Retry: Any = cp.RetryConfig


@pytest.fixture(scope="module")
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cp.RetryConfig(max_retries=-1), "max_retries=-1"),
        (lambda: cp.RetryConfig(base_delay=float("nan")), "base_delay=nan"),
        (lambda: cp.BreakerConfig(fail_max=0), "fail_max=0"),
        (lambda: cp.BreakerConfig(open_delay=90.0), "open_delay=90.0"),
        (lambda: cp.RetryBudgetConfig(ratio=-0.1), "ratio=-0.1"),
        (lambda: cp.Timeout(total=0), "total=0"),
        (lambda: cp.PolicyConfig(refresh_after=2.0), "refresh_after=2.0"),
        (lambda: Retry(retry_on=503), "RetryConfig(retry_on=503)"),
        (lambda: Retry(retry_on="503"), "RetryConfig(retry_on='503')"),
        (lambda: Retry(retry_on={503, 1000}), "{1000, 503}"),
        (lambda: Retry(retry_network_errors="false"), "retry_network_errors='false'"),
        (lambda: Pool(maxsize=0), "ColonyPool(maxsize=0)"),
        (lambda: Pool(maxsize=65_536), "at least 1 and at most 65535"),
        (lambda: Pool(max_wait="5"), "ColonyPool(max_wait='5')"),
        (lambda: Pool(timeout=30), "ColonyPool(timeout=30): must be of type Timeout"),
        (lambda: Pool(retry=3), "ColonyPool(retry=3): must be of type RetryConfig"),
        (lambda: Pool(auth_token_retry=None), "auth_token_retry=None"),
        (lambda: Pool(breaker=16), "breaker=16"),
        (lambda: Pool(retry_budget=2.0), "retry_budget=2.0"),
        (lambda: Pool(policy=60), "policy=60"),
        (lambda: Pool(allow_insecure="false"), "allow_insecure='false'"),
        (lambda: Pool(share_tokens="no"), "share_tokens='no'"),
        (lambda: Pool(runtime=None), "runtime=None"),
        (lambda: Pool("thecolony.ai/api/v1"), "scheme and host, such as https://thecolony.ai/api/v1"),
        (lambda: Pool("https:thecolony.ai"), "scheme and host"),
        (lambda: Pool(proxy="pw@proxy:3128"), "http://proxy.example:3128"),
        (lambda: Pool(proxy="http://"), "URL of an HTTP proxy"),
        (lambda: Pool(proxy="socks5://pw@proxy:1"), "URL of an HTTP proxy"),
        (lambda: Pool(proxy="http://pw@proxy:99999"), "URL of an HTTP proxy"),
        (lambda: Pool(proxy=3128), "URL of an HTTP proxy"),
        (lambda: Pool(runtime="twisted"), "runtime='twisted'"),
        (lambda: Pool(token_cache="redis"), "token_cache='redis'"),
        (lambda: Pool("http://example.org/api"), "https://"),
        (lambda: Pool("http://127.evil.example/api"), "https://"),
        (lambda: Pool("ftp://example.org"), "https://"),
        (lambda: Pool("https://user:pw@example.org"), "no user"),
    ],
)
def test_bad_options_are_named_with_their_value(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        make()
    assert "pw@" not in str(caught.value)


def test_a_pool_says_whether_it_or_its_breaker_is_closed() -> None:
    with cp.ColonyPool("http://127.0.0.1:9/api", name="p", registry=None) as pool:
        assert repr(pool) == "<ColonyPool p, breaker closed>"
        pool.breaker.open()
        assert repr(pool.agent("col_a")) == "<Agent of <ColonyPool p, breaker open>>"
    assert repr(pool) == "<ColonyPool p, closed>"


def test_a_pool_and_its_agents_say_that_they_do_not_pickle() -> None:
    with cp.ColonyPool("http://127.0.0.1:9/api", registry=None) as pool:
        for one in (pool, pool.agent("col_a")):
            with pytest.raises(TypeError, match="in each process"):
                pickle.dumps(one)


@pytest.mark.parametrize("key", ["", "abc", "col_", "col_ a", "col_\n", "col_ä", None, 7])
def test_g23_a_bad_key_is_refused_without_being_shown(key: Any) -> None:
    with cp.ColonyPool(registry=None) as pool, pytest.raises(ValueError, match="api_key") as caught:
        pool.agent(key)
    assert key is None or len(str(key)) < 4 or str(key) not in str(caught.value).replace("'col_'", "")


@pytest.mark.parametrize(
    "path", ["users", "//evil/x", "/a b", "/a#b", "/../x", "/%2e%2e/x", "/a\r\nX: y", "https://evil/"]
)
def test_g22_paths_cannot_leave_the_api(path: str) -> None:
    with cp.ColonyPool(registry=None) as pool, pytest.raises(ValueError, match="path"):
        pool.agent("col_a").get(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": "5"}, "timeout='5'"),
        ({"timeout": cp.Timeout()}, "timeout=Timeout("),
        ({"headers": {"X-Page": 5}}, "headers: 'X-Page'"),
        ({"idempotency_key": 7}, "idempotency_key"),
        ({"json": float("nan")}, "not JSON compliant"),
    ],
)
def test_what_cannot_be_sent_is_named_before_a_token_is_asked_for(options: Any, said: str) -> None:
    with cp.ColonyPool("http://127.0.0.1:9/api", registry=None, token_cache=None) as pool:
        with pytest.raises(ValueError, match=re.escape(said)):
            pool.agent("col_a").post("/x", **options)
        assert pool.status().breaker.failures == 0


def test_a_parameter_that_is_none_is_left_out(colony: FakeColony) -> None:
    with cp.ColonyPool(colony.base_url, registry=None, token_cache=None) as pool:
        sent = pool.agent("col_a").get("/echo", params={"cursor": None, "tag": ["a", "b"], "page": 2}).json()
    assert sent["path"] == "/api/v1/echo?tag=a&tag=b&page=2"


def test_a_404_of_the_api_is_not_blamed_on_base_url_alone(colony: FakeColony) -> None:
    with cp.ColonyPool(colony.base_url, registry=None, token_cache=None) as pool:
        agent = pool.agent("col_a")
        with pytest.raises(cp.ColonyNotFoundError, match="no such thing: check the path, or base_url"):
            agent.get("/status/404")


def test_g23_headers_cannot_be_split(colony: FakeColony) -> None:
    with cp.ColonyPool(colony.base_url, registry=None, token_cache=None) as pool:
        agent = pool.agent("col_header")
        with pytest.raises(ValueError, match="header X") as caught:
            agent.get("/echo", headers={"X": "secret\r\nY: z"})
        assert "secret" not in str(caught.value)
        with pytest.raises(ValueError, match="Authorization"):
            agent.get("/echo", headers={"Authorization": "x"})


def test_every_error_pickles_and_copies_with_its_data() -> None:
    for name in errors.__all__:
        error = getattr(errors, name)("words", 503, {"a": 1}, "CODE", hint="advice")
        error.extra = 7
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(twin), str(twin), vars(twin)) == (type(error), "words. advice", vars(error))
        assert isinstance(error, errors.ColonyAPIError)


@pytest.fixture
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("COLONY_SDK_NO_TOKEN_CACHE", raising=False)
    return tmp_path / "cache"


def test_g21_the_sdk_finds_our_tokens_and_we_find_the_sdks(colony: FakeColony, cache_dir: Path) -> None:
    from colony_sdk import ColonyClient

    with cp.ColonyPool(colony.base_url, registry=None) as pool:
        ours = pool.agent("col_shared_1").token()
    before = colony.count("/auth/token")
    assert ours == ColonyClient("col_shared_1", base_url=colony.base_url).get_auth_token()
    assert before == colony.count("/auth/token")
    theirs = ColonyClient("col_shared_2", base_url=colony.base_url).get_auth_token()
    before = colony.count("/auth/token")
    with cp.ColonyPool(colony.base_url, registry=None) as pool:
        assert theirs == pool.agent("col_shared_2").token()
        assert before == colony.count("/auth/token")
        pool.agent("col_shared_2").invalidate()
        assert theirs != pool.agent("col_shared_2").token()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in cache_dir.iterdir()}
    assert modes == {0o600}
    assert not list(cache_dir.glob(".*")), "no temporary file is left"


def test_g21_no_error_of_the_cache_reaches_a_caller(colony: FakeColony, cache_dir: Path) -> None:
    cache_dir.write_text("a file where the folder should be")
    with cp.ColonyPool(colony.base_url, registry=None) as pool:
        assert pool.agent("col_nowhere").token()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"v": 1}', '{"v": 2, "token": "a", "expiry": 9e12}', '{"v":1,"token":"a","expiry":"x"}',
     '{"v": 1, "token": "a", "expiry": 1}', '{"v": 1, "token": "a b", "expiry": 9e12}',
     '{"v": 1, "token": 7, "expiry": 9e9}',
     '{"v": 1, "token": "a", "expiry": NaN}', "[" * 100_000],
)  # fmt: skip
def test_g21_whatever_is_no_entry_is_a_miss(cache_dir: Path, content: str) -> None:
    cache = TokenCache("https://x/api")
    cache.save("col_a", "jwt", time.time() + 1000)
    path = next(cache_dir.iterdir())
    assert cache.load("col_a", time.time()) is not None
    path.write_text(content)
    assert cache.load("col_a", time.time()) is None
    cache.remove("col_a", "jwt")


def test_g21_the_switch_turns_it_off(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONY_SDK_NO_TOKEN_CACHE", "Yes")
    TokenCache("https://x").save("col_a", "jwt", time.time() + 1000)
    assert not cache_dir.exists()


def test_status_is_plain_frozen_data(colony: FakeColony) -> None:
    with cp.ColonyPool(colony.base_url, registry=None, token_cache=None) as pool:
        pool.agent("col_status").token()
        status = pool.status()
        assert json.loads(json.dumps(status.as_dict()))["tokens"]["fresh"] == 1
        with pytest.raises(AttributeError):
            status.waiters = 3  # type: ignore[misc]
