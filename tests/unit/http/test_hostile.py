"""Whatever a server or a file says: documented errors in one line, no hang, no growth, no secret (G11, G21-G23).

Hypothesis draws answers that are almost right, since bytes at random never come past the status line. The same
properties can be searched by a coverage-guided fuzzer: ``python -m tests.tools.fuzz``.
"""

from __future__ import annotations

import base64
import gc
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.private import MAX_LIFE, TokenCache, classify
from tests.tools.fuzz import targets
from tests.tools.fuzz.__main__ import SEEDS

KEY = targets.KEY


def _jwt(claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"


DATES = ["Tue, 22 Sep 2026 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359"]
ODD = st.sampled_from(
    ["", "0", "-1", "+5", "1_0", "0x10", "1e9", "nan", "inf", "9" * 40, "\xd9\xa3", "\x1b[2J", *DATES]
)
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12), st.floats(), st.sampled_from([10**400, -(10**400), 1e308, 5e-324, -0.0, 1.79e12])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.dictionaries(st.sampled_from(["exp", "iat", "sub"]), NUMBERS | JSON, max_size=3)
FIELDS = st.fixed_dictionaries(
    {"access_token": st.just("a.b.c") | CLAIMS.map(_jwt) | JSON},
    optional={"expires_in": NUMBERS | JSON, "detail": JSON, "error": JSON},
)
DETAILS = st.fixed_dictionaries({"message": st.text(max_size=400), "code": st.text(max_size=120) | JSON})
BODIES = st.one_of(
    FIELDS.map(lambda fields: json.dumps(fields).encode()),
    DETAILS.map(lambda detail: json.dumps({"detail": detail}).encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=80),
    st.sampled_from([b"[" * 60_000, b'{"a":' * 10_000, b'{"access_token": "' + b"x" * 70_000 + b'"}']),
)
STATUS_LINES = st.one_of(
    st.integers(0, 1100).map(lambda status: f"HTTP/1.1 {status} Whatever".encode()),
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.0 429 Slow", b"HTTP/1.1 100 Continue"]),
    st.sampled_from([b"HTTP/9.9 200 OK", b"HTTP/1.1  200 OK", b"ICY 200 OK", b"", b"SSH-2.0-x", b"HTTP/1.1 2e2 OK"]),
    st.binary(max_size=30),
)
FRAMING = ["Content-Length", "Transfer-Encoding", "Content-Encoding", "Content-Type", "Connection", "Trailer"]
LIMITS = ["Retry-After", "Date", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
NAMES = st.sampled_from([*FRAMING, *LIMITS, "Location", "", " folded", "\xe4"])
HEADERS = st.lists(st.tuples(NAMES, ODD | st.text(st.characters(max_codepoint=255), max_size=20)), max_size=5)
CHUNKS = st.lists(st.tuples(st.one_of(st.none(), ODD), st.binary(max_size=20)), max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """What a server sends, from its status line on: right, wrong, or cut anywhere."""
    body = draw(BODIES)
    lines = [f"{name}: {value}".encode("latin-1") for name, value in draw(HEADERS)]
    framing = draw(st.sampled_from(["length", "wrong length", "none", "chunks", "own chunks"]))
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "wrong length":
        lines.append(b"Content-Length: %d" % draw(st.integers(-5, len(body) + 5)))
    elif framing != "none":
        lines.append(b"Transfer-Encoding: chunked")
        own = [(None, body)] if framing == "chunks" else draw(CHUNKS)
        parts = [f"{len(part):x}" if size is None else size for size, part in own]
        body = b"".join(
            size.encode("latin-1") + b"\r\n" + part + b"\r\n" for size, (_, part) in zip(parts, own, strict=True)
        )
        body += b"0\r\n\r\n"
    whole = b"\r\n".join([draw(STATUS_LINES), *lines, b"", body])
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))


EACH_IN_ITS_OWN = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(EACH_IN_ITS_OWN, max_examples=400)
@given(answers())
def test_g11_g22_whatever_a_server_sends_is_an_answer_or_one_of_two_failures(data: bytes) -> None:
    """Through the real transport and a real socket."""
    targets.answer(data)


@settings(EACH_IN_ITS_OWN, max_examples=400)
@given(BODIES)
def test_g11_g17_g23_whatever_a_token_answer_holds_has_its_class_and_a_sane_life(data: bytes) -> None:
    targets.token_answer(data)


@settings(EACH_IN_ITS_OWN, max_examples=400)
@given(st.tuples(ODD, ODD, ODD, ODD) | st.tuples(*[st.text(st.characters(max_codepoint=255), max_size=20)] * 4))
def test_g13_whatever_the_headers_ask_for_is_a_wait_that_ends(values: tuple[str, ...]) -> None:
    targets.header_values("\n".join(values).encode("latin-1"))


@settings(EACH_IN_ITS_OWN, max_examples=400)
@given(st.binary(max_size=60) | CLAIMS.map(lambda claims: _jwt(claims).encode()))
def test_g17_whatever_a_jwt_claims(data: bytes) -> None:
    targets.jwt(data)


@settings(EACH_IN_ITS_OWN, max_examples=300)
@given(
    st.binary(max_size=60)
    | st.fixed_dictionaries({"v": st.just(1) | JSON, "token": st.just("a.b.c") | JSON, "expiry": NUMBERS | JSON}).map(
        lambda entry: json.dumps(entry).encode()
    )
)
def test_g21_whatever_a_cache_file_holds(data: bytes) -> None:
    targets.cache_file(data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_fuzzers_seeds_pass(name: str) -> None:
    for seed in SEEDS:
        targets.TARGETS[name](seed)


# -- what was found once ------------------------------------------------------------------------------------


def test_g21_an_expiry_beyond_all_floats_is_a_miss() -> None:
    targets.cache_file(b'{"v": 1, "token": "a.b.c", "expiry": 1' + b"0" * 400 + b"}")


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2Jwiped", "\ud800 alone", "\u2028", "\x00"])
def test_g23_a_server_cannot_write_into_logs_and_terminals(text: str) -> None:
    for content in ({"detail": text}, {"error": text}, {"detail": {"message": text, "code": text}}):
        targets.token_answer(b"\x96" + json.dumps(content).encode())  # 0x96: status 400
    targets.check_outcome(classify(200, {"content-type": text}, b"", targets.WALL))


@pytest.mark.parametrize(
    ("code", "expected"), [("A" * 100, "A" * 100), ("A" * 101, None), ("A\nB", None), (7, None), ("", "")]
)
def test_g23_a_code_is_a_short_word_or_none(code: object, expected: str | None) -> None:
    said = json.dumps({"detail": {"message": "no\r\nway\u202e!", "code": code}}).encode()
    outcome = classify(400, {}, said, targets.WALL)
    assert ("no  way !", expected) == (outcome.detail, outcome.code)


def test_g11_a_content_type_is_told_in_one_line() -> None:
    outcome = classify(200, {"content-type": "text\x1b[2J; charset=x"}, b"", targets.WALL)
    assert "HTTP 200, but the body (text [2J) holds no access_token" == outcome.detail


@pytest.mark.parametrize(("life", "kept"), [(MAX_LIFE, MAX_LIFE), (MAX_LIFE + 1.0, None)])
def test_g17_g21_ten_years_are_the_longest_life(life: float, kept: float | None) -> None:
    said = json.dumps({"access_token": "a.b.c", "expires_in": life}).encode()
    assert kept == classify(200, {}, said, targets.WALL).life
    cache = TokenCache("https://example.org")
    cache.save(KEY, "a.b.c", targets.WALL + life)
    assert (kept and ("a.b.c", targets.WALL + life)) == cache.load(KEY, targets.WALL)


@pytest.mark.parametrize("fields", [{"expires_in": 1e10}, {"access_token": _jwt({"exp": 1.79e10})}])
def test_g17_a_life_in_some_other_unit_is_no_life(fields: dict[str, Any]) -> None:
    body = json.dumps({"access_token": "a.b.c", **fields}).encode()
    assert classify(200, {}, body, targets.WALL).life is None


# -- the whole pool -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile() -> Iterator[FakeColony]:
    with FakeColony() as colony:
        yield colony


ONCE = cp.RetryConfig(max_retries=0)
QUICK = cp.Timeout(connect=5, read=0.2, total=0.3)


@settings(EACH_IN_ITS_OWN, max_examples=80)
@given(data=answers(), then=st.sampled_from(["close", "close", "close", "reset"]))
def test_g11_g22_g23_a_pool_survives_whatever_its_server_sends(
    hostile: FakeColony, caplog: pytest.LogCaptureFixture, data: bytes, then: str
) -> None:
    """A token or a documented error for its callers, nothing secret in the log, and it serves again."""
    caplog.set_level(logging.DEBUG)
    hostile.behave("healthy")
    options: dict[str, Any] = {"auth_token_retry": ONCE, "retry": ONCE, "timeout": QUICK}
    with cp.ColonyPool(hostile.base_url, registry=None, token_cache=None, **options) as pool:
        warm = pool.agent("col_warm")
        warm.token()
        hostile.behave("raw", data=data.decode("latin-1"), then=then)
        for call in (pool.agent(KEY).token, lambda: warm.get("/users/me"), lambda: warm.delete("/thing")):
            try:
                call()
            except cp.ColonyAPIError as error:
                targets.check_error(error)
        assert (pool.status().waiters, pool.status().in_flight) == (0, 0)
    assert all(KEY not in record.getMessage() and record.getMessage().isprintable() for record in caplog.records)
    caplog.clear()


def test_nothing_grows_with_hostile_answers(hostile: FakeColony) -> None:
    """Memory and descriptors after each further round of the same answers are as they were after the first."""
    seeds = [seed[:cut] for seed in SEEDS for cut in (len(seed), len(seed) // 2, len(seed) - 1)]

    def round_of_all() -> tuple[int, int]:
        for seed in seeds * 5:
            targets.answer(seed)
        gc.collect()
        return sys.getallocatedblocks(), len(os.listdir("/proc/self/fd"))

    round_of_all()
    blocks, descriptors = round_of_all()
    later = [round_of_all() for _ in range(5)]
    assert max(count for count, _ in later) - blocks < len(seeds), (blocks, later)
    assert {descriptors} == {count for _, count in later}
