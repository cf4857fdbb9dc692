"""A store's content may be anybody's: what it says is reduced to what this process could have decided itself."""

from __future__ import annotations

import glob
import json
import logging
import math
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony_pool import CircuitOpenError, ColonyAuthError, ColonyPool, ColonyRateLimitError, ColonyValidationError
from colony_pool.config import DispatcherConfig
from colony_pool.testing import FakeColony, MemoryStore
from tests.support.private import (
    BoundedStore,
    Bounds,
    EndpointRecord,
    Key,
    KeyState,
    OpenState,
    SharedDenial,
    SharedState,
    Store,
    StoreReport,
    StoreUnavailable,
)
from tests.support.servers import Server, until

YEARS = 9.5e8  # seconds
ESCAPES = "x\nERROR forged line\x1b]0;owned\x07\x1b[2J"

_numbers = st.one_of(
    st.floats(), st.integers(), st.just(10**400), st.just(-(10**400)), st.booleans(), st.none(), st.text(max_size=5),
    st.binary(max_size=5), st.lists(st.integers(), max_size=2), st.complex_numbers(),
)  # fmt: skip
_texts = st.one_of(st.text(max_size=400), _numbers)


class Liar(MemoryStore):
    """A store that answers what it is given."""

    def __init__(self, view: SharedState, state: KeyState | None = None, fence: Any = None) -> None:
        super().__init__()
        self.view, self.state, self.fence, self.carries_tokens = view, state, fence, False

    def look(self) -> SharedState:
        return self.view

    def join(self, owner: str, seconds: float) -> SharedState:
        return self.view

    def survey(self) -> StoreReport:
        return StoreReport(self.view, ESCAPES, -5)

    def claim_probe(self, owner: str, seconds: float) -> tuple[int | None, SharedState]:
        return self.fence, self.view

    def claim_key(self, owner: str, key: str, seconds: float, *, min_life: float = 0.0) -> KeyState:
        assert self.state is not None
        return self.state

    def forget_key(self, key: str) -> None:
        pass


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at


def bounded(store: Store, clock: Clock | None = None) -> BoundedStore:
    return BoundedStore(store, Bounds.of(DispatcherConfig()), clock or Clock())


def assert_within(view: SharedState) -> None:
    assert type(view.generation) is type(view.members) is int
    assert view.generation >= 0 <= view.members
    for value, high in ((view.lease_for, 31.0), (view.hold_for, 86_400.0)):
        assert type(value) is float
        assert 0.0 <= value <= high
    assert view.hold_cause.isprintable()
    if view.opening is not None:
        assert 0.0 <= view.opening.probe_in <= 900.0
        assert 0 <= view.opening.level <= 60
        assert 0.0 <= view.opening.opened_for < math.inf
        assert view.opening.cause.isprintable()
        assert len(view.opening.cause) <= 300
        assert 0 <= view.opening.status <= 599


@given(st.lists(_numbers, min_size=7, max_size=7), _texts, _texts, st.booleans())
def test_whatever_a_store_says_of_the_endpoint_is_within_bounds(
    numbers: list[Any], cause: Any, hold_cause: Any, is_open: bool
) -> None:
    generation, probe_in, level, opened_for, status, lease_for, hold_for = numbers
    opening = OpenState(probe_in, level, opened_for, cause, status) if is_open else None
    store = bounded(Liar(SharedState(generation, opening, lease_for, hold_for, hold_cause, level)))
    assert_within(store.look())
    assert_within(store.join("me", 1.0))
    survey = store.survey()
    assert_within(survey.view)
    assert survey.prober is not None
    assert (True, 0) == (survey.prober.isprintable(), survey.denied)


@given(st.lists(_numbers, min_size=4, max_size=4), _texts, _texts, st.one_of(_numbers, st.tuples(_texts, _numbers)))
def test_whatever_a_store_says_of_a_key_is_within_bounds(
    numbers: list[Any], code: Any, detail: Any, token: Any
) -> None:
    busy_for, seconds, times, status = numbers
    state = KeyState(False, SharedState(), busy_for, SharedDenial(seconds, times, status, code, detail), token)
    claim = bounded(Liar(SharedState(), state)).claim_key("me", "k", 10.0)
    assert 0.0 <= claim.busy_for <= 60.0
    if claim.denial is not None:
        assert 0.0 < claim.denial.seconds <= 3600.0
        assert 400 <= claim.denial.status <= 499
        assert claim.denial.status not in (408, 429)
        assert claim.denial.detail.isprintable()
        assert claim.denial.code is None or claim.denial.code.isprintable()
    if claim.token is not None:
        assert isinstance(claim.token[0], str)
        assert 0.0 < claim.token[1] <= 10 * 365 * 86_400.0


@given(st.dictionaries(st.sampled_from([*EndpointRecord.__slots__]), _texts))
def test_a_record_of_an_endpoint_can_be_read_whatever_is_in_its_fields(record: dict[str, Any]) -> None:
    endpoint = EndpointRecord.read(record)
    view = bounded(Liar(endpoint.view(1000.0))).look()
    assert_within(view)
    endpoint.may_probe("me", 1000.0)
    endpoint.move(OpenState(1.0, 0, 0.0, "", 0), 1000.0)
    json.dumps({"members": endpoint.members, "generation": endpoint.generation})


@given(st.lists(_texts, min_size=9, max_size=9))
def test_a_record_of_a_key_can_be_read_whatever_is_in_its_fields(values: list[Any]) -> None:
    key = Key.read(*values)
    key.state("me", SharedState(), 1000.0, 0.0)
    assert key.ends >= 0.0


def test_a_time_that_is_too_long_is_reduced_once_and_then_runs_down() -> None:
    clock, opening = Clock(), OpenState(YEARS, 0, 0.0, "", 502)
    liar = Liar(SharedState(5, opening, YEARS, YEARS, "429"))
    store = bounded(liar, clock)
    assert (900.0, 31.0, 86_400.0) == times_of(store.look())
    clock.at = 30.0
    assert (870.0, 1.0, 86_370.0) == times_of(store.look())
    clock.at = 90_000.0
    assert (0.0, 0.0, 0.0) == times_of(store.look())
    with pytest.raises(StoreUnavailable, match="lets nobody probe"):
        store.claim_probe("me", 5.0)
    liar.view = SharedState(6, OpenState(2.0, 0, 0.0, "", 502))
    assert (2.0, 0.0, 0.0) == times_of(store.look())
    liar.view = SharedState(7, OpenState(YEARS, 0, 0.0, "", 502))
    assert (900.0, 0.0, 0.0) == times_of(store.look())
    liar.view, liar.fence = SharedState(7, OpenState(0.0, 0, 0.0, "", 502)), 7.0
    assert 7 == store.claim_probe("me", 5.0)[0]


def times_of(view: SharedState) -> tuple[float, float, float]:
    assert view.opening is not None
    return view.opening.probe_in, view.lease_for, view.hold_for


def test_a_denial_that_is_too_long_ends_after_an_hour() -> None:
    clock = Clock()
    liar = Liar(SharedState(), KeyState(False, SharedState(), denial=SharedDenial(YEARS, 1, 401, None, "")))
    store = bounded(liar, clock)
    assert 3600.0 == seconds_of(store)
    clock.at = 3000.0
    assert 600.0 == seconds_of(store)
    clock.at = 3600.0
    assert 0.0 == seconds_of(store)
    for number in range(3000):  # what is watched is bounded
        store.claim_key("me", f"k{number}", 10.0)
    assert len(store._denials) <= 1024


def seconds_of(store: BoundedStore) -> float:
    denial = store.claim_key("me", "k", 10.0).denial
    return 0.0 if denial is None else denial.seconds


# -- the record of a host -----------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLONY_POOL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def colony() -> Iterator[FakeColony]:
    with FakeColony() as colony:
        yield colony


def alter(host: Path, **fields: Any) -> None:
    """Write into the host's record."""
    (name,) = glob.glob(str(host / "state" / "host" / "*.db"))
    db = sqlite3.connect(name, isolation_level=None)
    try:
        boot, at, record = db.execute("SELECT boot, at, record FROM door").fetchone()
        assert at > 0.0
        db.execute("UPDATE door SET record = ?", (json.dumps({**json.loads(record), **fields}),))
        assert boot
    finally:
        db.close()


def opened(colony: FakeColony) -> ColonyPool:
    """A pool that has made the host's record."""
    pool = ColonyPool(colony.base_url, registry=None, shared="host")
    pool.breaker.open()
    until(lambda: glob.glob(os.environ["COLONY_POOL_STATE_DIR"] + "/host/*.db"))
    until(lambda: has_record(os.environ["COLONY_POOL_STATE_DIR"]))
    return pool


def has_record(folder: str) -> bool:
    (name,) = glob.glob(folder + "/host/*.db")
    db = sqlite3.connect(name)
    try:
        return bool(db.execute("SELECT count(*) FROM door").fetchone()[0] == 1)
    except sqlite3.Error:
        return False
    finally:
        db.close()


JUNK: dict[str, dict[str, Any]] = {
    "no members": {"members": [1]},
    "a member without end": {"members": {"a": None}},
    "a hold of text": {"hold_until": "x"},
    "a level of text": {"is_open": True, "level": "x"},
    "no generation": {"generation": None},
    "a probe at no time": {"is_open": True, "probe_at": math.nan},
    "a huge number": {"fence": 10**300, "generation": 10**300},
    "nobody's name": {"prober": ["x"], "lease_until": 1e300},
}


@pytest.mark.parametrize("fields", JUNK.values(), ids=list(JUNK))
def test_junk_in_the_hosts_record_costs_no_caller_its_token(
    host: Path, colony: FakeColony, fields: dict[str, Any]
) -> None:
    opened(colony).close()
    alter(host, is_open=False)
    alter(host, **fields)
    with ColonyPool(colony.base_url, registry=None, shared="host") as pool:
        for number in range(3):
            assert pool.agent(f"col_{number}").token(max_wait=60)
        assert "unavailable" != pool.status().shared


@pytest.mark.parametrize("probe_at", [YEARS * 3, math.inf, 1e300])
def test_a_probe_in_thirty_years_is_one_in_a_quarter_of_an_hour(
    host: Path, colony: FakeColony, probe_at: float
) -> None:
    opened(colony).close()
    alter(host, is_open=True, probe_at=probe_at, level=-1000, generation=5, cause=ESCAPES)
    with ColonyPool(colony.base_url, registry=None, shared="host") as pool:
        pool.breaker.open()
        with pytest.raises(CircuitOpenError) as caught:
            pool.agent("col_a").token(max_wait=1)
        assert caught.value.retry_after is not None
        assert 0.0 < caught.value.retry_after <= 900.0
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a FIFO", "a folder"])
def test_what_is_no_record_in_the_hosts_place_is_not_waited_for(host: Path, colony: FakeColony, make: Any) -> None:
    opened(colony).close()
    (name,) = glob.glob(str(host / "state" / "host" / "*.db"))
    for left in glob.glob(name + "*"):
        os.unlink(left)
    make(name)
    with ColonyPool(colony.base_url, registry=None, shared="host") as pool:
        assert pool.agent("col_a").token(max_wait=1)
        until(lambda: pool.status().shared == "unavailable")


# -- a real server ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server("valkey", tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


def far(colony: FakeColony, valkey: Server, **options: Any) -> ColonyPool:
    return ColonyPool(colony.base_url, token_cache=None, registry=None, shared=valkey.url, **options)


def endpoint_key(valkey: Server, colony: FakeColony) -> str:
    client = valkey.client()
    client.flushall()
    with far(colony, valkey) as pool:
        pool.breaker.open()
        until(lambda: client.keys("colony_pool:1:*:door"))
    (name,) = client.keys("colony_pool:1:*:door")
    return name.decode() if isinstance(name, bytes) else str(name)


def test_what_a_server_says_of_the_endpoint_is_reduced(
    host: Path, colony: FakeColony, valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The log and the error show one printable line, and the end is one that this process allows."""
    name, client = endpoint_key(valkey, colony), valkey.client()
    client.hset(name, mapping={"is_open": "0", "hold_until": time.time() + YEARS, "hold_cause": ESCAPES})
    with caplog.at_level(logging.INFO, "colony_pool"), far(colony, valkey, share_tokens=True) as pool:
        with pytest.raises(ColonyRateLimitError) as caught:
            pool.agent("col_a").token(max_wait=1)
        assert str(caught.value).isprintable()
        assert caught.value.retry_after is not None
        assert caught.value.retry_after <= 86_400.0
        assert pool.status().hold_for <= 86_400.0
        assert pool.status().hold_cause.isprintable()
    assert all(record.getMessage().isprintable() for record in caplog.records)


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "1e400", "x", "", "0x10", "9" * 400])
def test_a_number_that_is_none_leaves_the_server_usable(
    host: Path, colony: FakeColony, valkey: Server, value: str
) -> None:
    name, client = endpoint_key(valkey, colony), valkey.client()
    fields = "at", "generation", "probe_at", "opened_at", "level", "status", "fence", "lease_until", "resets"
    client.hset(name, mapping={**dict.fromkeys(fields, value), "cause": b"\xff\xfe", "is_open": "1", "prober": ""})
    with far(colony, valkey) as pool:
        pool.agent("col_a").token(max_wait=60) if value not in ("inf", "1e400", "9" * 400) else None
        pool.breaker.open()
        until(lambda: pool.status().shared != "unknown")
        assert "working" == pool.status().shared


def test_what_a_server_says_of_a_key_is_reduced(host: Path, colony: FakeColony, valkey: Server) -> None:
    client = valkey.client()
    client.flushall()
    with far(colony, valkey, share_tokens=True) as pool:
        jwt = pool.agent("col_a").token()
        until(lambda: any(client.hget(key, "token") for key in client.keys("*:key:*")))
    (key,) = client.keys("*:key:*")
    sealed = client.hget(key, "token")
    refusal = {
        "denied_until": time.time() + YEARS,
        "times": 10**18,
        "status": 200,
        "code": ESCAPES,
        "detail": ESCAPES,
    }
    client.hset(key, mapping={**refusal, "token_until": 0, "resets": 0})
    with far(colony, valkey, share_tokens=True) as pool:
        with pytest.raises((ColonyAuthError, ColonyValidationError)) as caught:
            pool.agent("col_a").token()
        assert str(caught.value).isprintable()
        assert 400 == caught.value.status
    client.hset(key, mapping={"denied_until": 0, "token": sealed, "token_until": time.time() + YEARS})
    with far(colony, valkey, share_tokens=True) as pool:
        assert jwt == pool.agent("col_a").token()
        earliest = pool.status().tokens.earliest_expiry
        assert earliest is not None
        assert earliest <= time.time() + 86_401.0
    for garbage in ("garbage", "", "x" * 70_000, "\x00"):
        client.hset(key, mapping={"token": garbage, "token_until": time.time() + YEARS})
        with far(colony, valkey, share_tokens=True) as pool:
            assert pool.agent("col_a").token()
        assert client.hget(key, "token") not in (garbage, garbage.encode())


def test_the_terminal_shows_a_record_as_printable_lines(host: Path, colony: FakeColony, valkey: Server) -> None:
    import subprocess
    import sys

    name, client = endpoint_key(valkey, colony), valkey.client()
    client.hset(
        name, mapping={"is_open": "1", "cause": ESCAPES, "hold_until": time.time() + 30, "hold_cause": ESCAPES}
    )
    command = [sys.executable, "-m", "colony_pool", "status", "--shared", valkey.url, "--base-url", colony.base_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    assert not re.search("^ERROR", done.stdout, re.MULTILINE)
