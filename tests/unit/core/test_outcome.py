"""One table classifies every answer (G11), and nothing that a server can send makes it raise."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.private import (
    _MAX_CODE,
    KINDS,
    MAX_LIFE,
    MAX_TOKEN_CHARS,
    OK,
    RATE_LIMITED,
    REJECTED,
    SERVER_ERROR,
    UNAVAILABLE,
    bad_answer,
    claims_expiry,
    classify,
    http_date,
    media_type,
)
from tests.support.private import read_headers as read

WALL = 1_790_000_000.0
DATE = "Tue, 22 Sep 2026 00:00:00 GMT"
DATE_AT = 1_790_035_200.0


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def jwt(**claims: Any) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(status, UNAVAILABLE) for status in (502, 503, 504, 520, 525, 530, 408, 421, 425, 100, 0, -1)]
    + [(status, UNAVAILABLE) for status in (300, 301, 302, 303, 304, 307, 308)]
    + [(status, SERVER_ERROR) for status in (500, 501, 505, 511, 519, 531, 999)]
    + [(429, RATE_LIMITED)],
)
def test_g11_every_status_has_its_class_whatever_the_body(status: int, kind: str) -> None:
    for content in (b"", b"<html>", b"\xff\xfe", body(access_token="t"), body(detail="no"), b"[" * 100_000):
        assert kind == classify(status, {}, content, WALL).kind


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 407, 409, 410, 418, 422, 451, 499])
def test_g11_only_the_apis_own_error_refuses_a_key(status: int) -> None:
    for content in (body(detail="no"), body(error="no"), body(detail=None), body(error={"message": "no"})):
        assert REJECTED == classify(status, {"content-type": "text/html"}, content, WALL).kind
    for content in (
        b"",
        b" \n",
        b"<html>",
        b"\xff\xfe",
        body(message="no"),
        b'["detail"]',
        b'"detail"',
        b"null",
        b"[" * 100_000,
    ):
        outcome = classify(status, {"content-type": "application/json", "retry-after": "7"}, content, WALL)
        assert (UNAVAILABLE, 7.0, 502) == (outcome.kind, outcome.retry_after, outcome.retry_status)
        assert outcome.is_foreign
        assert ", not The Colony's answer" in outcome.detail


@pytest.mark.parametrize(
    ("headers", "content", "words"),
    [
        ({}, b"", "an empty body"),
        ({"content-type": "application/json"}, b" \r\n", "an empty body"),
        ({"content-type": "text/html; charset=utf-8"}, b"no", "an HTML page"),
        ({"content-type": "application/xhtml+xml"}, b"no", "an HTML page"),
        ({}, b"\n<!doctype html>", "an HTML page"),
        ({}, b"\xef\xbb\xbf<!doctype html>", "an HTML page"),
        ({"content-type": "application/json"}, b'{"message": "Forbidden"}', "JSON of another shape"),
        ({"content-type": "application/problem+json"}, b"[1]", "JSON of another shape"),
        ({"content-type": "application/json"}, b"<html>", "a body that is no JSON"),
        ({"content-type": "text/plain"}, b"blocked", "a body of type text/plain"),
        ({"content-type": "text/\x1b[31mred" + "x" * 99}, b"blocked", "a body of type text/ [31mred" + "x" * 27),
        ({}, b"\xff\xfe", "a body of unknown type"),
    ],
)
def test_g11_what_came_is_named(headers: dict[str, str], content: bytes, words: str) -> None:
    shown = media_type(headers)
    facts = f" ({shown})" if shown not in words else ""
    assert f"HTTP 403, {words}, not The Colony's answer{facts}" == classify(403, headers, content, WALL).detail


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (100, "HTTP 100"), (199, "HTTP 199"), (500, "HTTP 500, an HTML page (text/html; Location: /x)"),
        (502, "HTTP 502, an HTML page (text/html; Location: /x)"),
        (403, "HTTP 403, an HTML page, not The Colony's answer (text/html; Location: /x)"),
    ],
)  # fmt: skip
def test_g11_a_page_is_told_with_its_type_and_where_it_leads(status: int, words: str) -> None:
    headers = {"content-type": "text/html", "location": "/x"}
    assert words == classify(status, headers, b"<html>", WALL).detail


def test_g11_an_empty_body_of_a_server_that_fails_is_not_worth_a_word() -> None:
    assert classify(502, {"content-type": "text/html"}, b"", WALL).detail == "HTTP 502"


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("headers", [{"retry-after": "7"}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "7"}])
def test_g13_the_apis_own_400_or_403_that_says_when_to_come_back_is_its_rate_limit(
    status: int, headers: dict[str, str]
) -> None:
    outcome = classify(status, headers, body(detail="no"), WALL)
    assert (RATE_LIMITED, 7.0) == (outcome.kind, outcome.retry_after)
    assert REJECTED == classify(404, headers, body(detail="no"), WALL).kind


def test_g13_a_refusal_that_says_when_to_come_back_holds_nobody_while_requests_are_left() -> None:
    outcome = classify(401, {"retry-after": "7"}, body(detail="no"), WALL)
    assert (REJECTED, 7.0, None) == (outcome.kind, outcome.retry_after, outcome.exhausted_for)


@pytest.mark.parametrize(("expires_in", "cut"), [(5, True), (3600, False)])
def test_g17_a_life_that_expires_in_cuts_short_is_known(expires_in: int, cut: bool) -> None:
    outcome = classify(200, {}, body(access_token=jwt(exp=WALL + 3600.0), expires_in=expires_in), WALL)
    assert cut is outcome.life_cut


def test_g11_g13_what_a_gateways_page_says_of_rate_limits_holds_nobody() -> None:
    limits = {"retry-after": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}
    for remaining in ("0", "3"):
        outcome = classify(403, {**limits, "x-ratelimit-remaining": remaining}, b"<html>", WALL)
        assert (UNAVAILABLE, None, None, 5000.0) == (
            outcome.kind,
            outcome.exhausted_for,
            outcome.remaining,
            outcome.postpones,
        )
    waits = [classify(s, {"retry-after": "7"}, b"", WALL).postpones for s in (503, 502, 408, 421, 425)]
    assert [7.0, 0.0, 7.0, 7.0, 7.0] == waits


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (None, ""),
        ("", ""),
        ("https://new.example/api/v1/auth/token", " to https://new.example/api/v1/auth/token"),
        ("/login", " to /login"),
        ("//new.example:8443/x", " to //new.example:8443/x"),
        ("https://user:s3cret@new.example/x?token=s3cret#s3cret", " to https://new.example/x?..."),
        ("https://new.example/\r\nx\x1b[31m", " to https://new.example/%20%20x%20[31m"),
        ("https://[bad/x", " to https://[bad/x"),
        ("//s3cret@new.example/x;jsessionid=s3cret", " to //new.example/x?..."),
        ("s3cret:s3cret@new.example/x", " to new.example/x"),
        ("https:\\\\user:s3cret@new.example/x", " to https:new.example/x"),
        ("/" + "x" * 119, " to /" + "x" * 119),
        ("/" + "x" * 200, " to /" + "x" * 119 + "..."),
    ],
)
def test_g22_a_redirect_shows_where_it_leads_and_no_secret(location: str | None, words: str) -> None:
    headers = {} if location is None else {"location": location}
    outcome = classify(307, headers, b"", WALL)
    assert (UNAVAILABLE, f"HTTP 307{words} (a redirect is never followed)") == (outcome.kind, outcome.detail)
    shown = f" (Location: {words.removeprefix(' to ')})" if words else ""
    assert f"HTTP 403, an empty body, not The Colony's answer{shown}" == classify(403, headers, b"", WALL).detail


@pytest.mark.parametrize("status", [200, 201, 203, 299])
def test_g11_a_2xx_with_a_token_is_ok(status: int) -> None:
    outcome = classify(status, {}, body(access_token="abc.def.ghi", expires_in=60), WALL)
    assert (outcome.kind, outcome.status, outcome.jwt, outcome.life) == (OK, status, "abc.def.ghi", 60.0)
    assert outcome == classify(status, {}, b"\xef\xbb\xbf" + body(access_token="abc.def.ghi", expires_in=60), WALL)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b'"token"', b"{", b"<html>It works!</html>", b"\xff\xfe\x00", b"[" * 200_000,
        body(), body(access_token=None), body(access_token=""), body(access_token=5), body(access_token=["a"]),
        body(access_token="a b"), body(access_token="a\r\nX-Evil: 1"), body(access_token="t\u00f6ken"),
        body(access_token="x" * (MAX_TOKEN_CHARS + 1)), body(access_token="t", expires_in=0),
        body(access_token="t", expires_in=-5), body(access_token=jwt(exp=WALL - 1)), b'{"access_token": "t"',
        body(access_token="t").replace(b"{", b"\xef\xbb\xbf\xef\xbb\xbf{"),
        body(access_token="t").decode().encode("utf-16"),
    ],
)  # fmt: skip
def test_g11_g22_a_2xx_that_is_not_what_it_should_be_is_down_and_counts_as_502(content: bytes) -> None:
    outcome = classify(200, {"content-type": "text/html; charset=x"}, content, WALL)
    assert (outcome.kind, outcome.retry_status, outcome.jwt) == (UNAVAILABLE, 502, "")


@pytest.mark.parametrize(("status", "counts_as"), [(502, 502), (503, 503), (504, 504), (520, 502), (302, 502)])
def test_g11_what_retry_on_is_asked_about(status: int, counts_as: int) -> None:
    assert counts_as == classify(status, {}, b"", WALL).retry_status
    assert bad_answer(200, "it was truncated").retry_status == 502


@pytest.mark.parametrize(
    ("status", "headers", "kind", "after"),
    [
        (429, {}, RATE_LIMITED, None),
        (429, {"retry-after": "7"}, RATE_LIMITED, 7.0),
        (429, {"retry-after": "soon"}, RATE_LIMITED, None),
        (429, {"retry-after": "-1"}, RATE_LIMITED, None),
        (429, {"retry-after": "nan"}, RATE_LIMITED, None),
        (429, {"retry-after": "9" * 400}, RATE_LIMITED, None),
        (429, {"retry-after": "\u0667"}, RATE_LIMITED, None),
        (429, {"x-ratelimit-reset": "30"}, RATE_LIMITED, 30.0),
        (429, {"x-ratelimit-reset": str(int(WALL) + 30)}, RATE_LIMITED, 30.0),
        (429, {"retry-after": "7", "x-ratelimit-reset": "30"}, RATE_LIMITED, 7.0),
        (503, {"retry-after": "7"}, UNAVAILABLE, 7.0),
        (503, {"retry-after": "7", "x-ratelimit-remaining": "0"}, RATE_LIMITED, 7.0),
        (503, {"retry-after": "7", "x-ratelimit-remaining": "1"}, UNAVAILABLE, 7.0),
        (503, {"x-ratelimit-remaining": "0"}, UNAVAILABLE, None),
    ],
)
def test_g11_g13_who_counts_and_who_is_down(
    status: int, headers: dict[str, str], kind: str, after: float | None
) -> None:
    outcome = classify(status, headers, b"", WALL)
    assert (kind, after) == (outcome.kind, outcome.retry_after)


def test_g13_a_last_permitted_request_says_for_how_long() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}
    assert classify(200, headers, body(access_token="t"), WALL).exhausted_for == 12.0
    assert classify(401, headers, body(detail="no"), WALL).exhausted_for == 12.0
    assert classify(200, headers | {"x-ratelimit-remaining": "1"}, body(access_token="t"), WALL).exhausted_for is None


def test_g13_a_date_is_read_against_the_servers_own_clock() -> None:
    assert http_date(DATE) == DATE_AT
    assert classify(429, {"retry-after": DATE}, b"", DATE_AT - 40.0).retry_after == 40.0
    later = {"retry-after": "Tue, 22 Sep 2026 00:00:40 GMT", "date": DATE}
    assert read(later, WALL - 1e6).pause == 40.0
    assert read({"retry-after": DATE}, DATE_AT + 5.0).pause == 0.0
    assert read({"x-ratelimit-reset": str(int(DATE_AT) + 9), "date": DATE}, 0.0).pause == 9.0


@pytest.mark.parametrize(
    ("fields", "headers", "life"),
    [
        ({"access_token": "t", "expires_in": 90}, {}, 90.0),
        ({"access_token": "t", "expires_in": 90.5}, {}, 90.5),
        ({"access_token": jwt(exp=WALL + 70)}, {}, 70.0),
        ({"access_token": jwt(exp=DATE_AT + 70)}, {"date": DATE}, 70.0),
        ({"access_token": jwt(exp=WALL + 70), "expires_in": 90}, {}, 70.0),
        ({"access_token": jwt(exp=WALL + 70), "expires_in": "90"}, {}, 70.0),
        ({"access_token": jwt(exp=WALL + 70), "expires_in": True}, {}, 70.0),
        ({"access_token": jwt(exp="soon")}, {}, None),
        ({"access_token": "opaque"}, {}, None),
        ({"access_token": "t", "expires_in": 1e300}, {}, None),
        ({"access_token": "a.!!!.c"}, {}, None),
    ],
)
def test_g17_life_is_expires_in_else_exp_else_unknown(
    fields: dict[str, Any], headers: dict[str, str], life: float | None
) -> None:
    outcome = classify(200, headers, json.dumps(fields).encode(), WALL)
    assert (OK, life) == (outcome.kind, outcome.life)


@pytest.mark.parametrize(
    ("content", "detail", "code"),
    [
        (body(detail="no"), "no", None),
        (body(detail={"message": "no", "code": "AUTH_2FA_INVALID"}), "no", "AUTH_2FA_INVALID"),
        (body(error="no"), "no", None),
        (body(detail=[{"loc": 1}]), "", None),
        (body(detail={"message": 5, "code": ["x"]}), "", None),
    ],
)
def test_g11_an_errors_words_and_code_are_read_in_every_shape(content: bytes, detail: str, code: str | None) -> None:
    outcome = classify(401, {}, content, WALL)
    assert (REJECTED, detail, code) == (outcome.kind, outcome.detail, outcome.code)


def test_g23_a_token_shows_in_no_repr() -> None:
    outcome = classify(200, {}, body(access_token="seKret.seKret.seKret"), WALL)
    assert "seKret" not in repr(outcome)
    refused = classify(401, {}, body(detail="no", echoed="seKret"), WALL)
    assert "seKret" not in repr(refused)


@pytest.mark.parametrize(
    ("content_type", "content", "words"),
    [
        ("text/html; charset=utf-8", b"<html>", "the body (text/html) holds no access_token"),
        ("x" * 50, b"{}", f"the body ({'x' * 40}) holds no access_token"),
        ("", b"{}", "the body (an unknown type) holds no access_token"),
        (None, b"{}", "the body (an unknown type) holds no access_token"),
        ("", body(access_token="a b"), "its access_token is no token"),
        ("", body(access_token="t", expires_in=0), "its token has expired already"),
    ],
)
def test_g11_a_bad_2xx_says_what_is_wrong_with_it(content_type: str | None, content: bytes, words: str) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    outcome = classify(201, headers, content, WALL)
    assert (201, f"HTTP 201, but {words}") == (outcome.status, outcome.detail)


def test_g11_a_token_may_be_as_long_as_it_may_be() -> None:
    longest = "x" * MAX_TOKEN_CHARS
    assert classify(200, {}, body(access_token=longest), WALL).jwt == longest


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (502, "HTTP 502"),
        (408, "HTTP 408"),
        (199, "HTTP 199"),
        (302, "HTTP 302 (a redirect is never followed)"),
        (505, "HTTP 505"),
    ],
)
def test_g11_what_failed_is_said_in_words(status: int, words: str) -> None:
    outcome = classify(status, {"retry-after": "7"}, body(detail={"message": "m", "code": "C"}), WALL)
    assert (status, words, "C", 7.0) == (outcome.status, outcome.detail, outcome.code, outcome.retry_after)
    assert outcome.response == {"detail": {"message": "m", "code": "C"}}


@pytest.mark.parametrize("status", [429, 401])
def test_g11_a_refusal_and_a_429_keep_what_the_server_said(status: int) -> None:
    headers = {"retry-after": "7", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}
    outcome = classify(status, headers, body(detail={"message": "m", "code": "C"}), WALL)
    assert (status, "m", "C", 7.0) == (outcome.status, outcome.detail, outcome.code, outcome.retry_after)
    assert outcome.response == {"detail": {"message": "m", "code": "C"}}
    assert outcome.exhausted_for == (30.0 if status == 401 else None)


@pytest.mark.parametrize(
    ("expiry", "read"),
    [
        (1.5e9, 1.5e9),
        (0, 0.0),
        (-1, -1.0),
        (1e11, None),
        (-1e11, None),
        (9.9e10, 9.9e10),
        (True, None),
        ("1", 1.0),
        (1e12, 1e9),
        (1e13, 1e10),
        (1e14, None),
        (10**400, None),
    ],
)
def test_g17_an_expiry_is_a_sane_number_or_none(expiry: object, read: float | None) -> None:
    assert read == claims_expiry(jwt(exp=expiry))


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d", f"{jwt(exp=5)}.more", "e30.W10.sig", "e30.!.sig", "e30.A.sig"]
)
def test_g17_what_is_no_jwt_has_no_expiry(text: str) -> None:
    assert claims_expiry(text) is None


@pytest.mark.parametrize("padding", [{"a": "x" * n} for n in range(4)])
def test_g17_a_jwt_is_read_whatever_its_length(padding: dict[str, str]) -> None:
    assert claims_expiry(jwt(exp=5, **padding)) == 5.0
    assert claims_expiry(jwt(exp=5, url="\u00ff?\u00ff>" * 5)) == 5.0, "the alphabet of URLs"


def test_g17_a_token_that_ends_this_very_second_has_expired() -> None:
    assert classify(200, {}, body(access_token=jwt(exp=WALL)), WALL).kind == UNAVAILABLE
    assert classify(200, {}, body(access_token=jwt(exp=WALL + 1)), WALL).life == 1.0


@pytest.mark.parametrize(("seconds", "life"), [(MAX_LIFE, MAX_LIFE), (MAX_LIFE + 1.0, None)])
def test_g17_a_life_beyond_belief_is_none(seconds: float, life: float | None) -> None:
    assert life == classify(200, {}, body(access_token="t", expires_in=seconds), WALL).life


@pytest.mark.parametrize(
    ("code", "read"), [("C" * _MAX_CODE, "C" * _MAX_CODE), ("C" * (_MAX_CODE + 1), None), ("a\nb", None), ("", "")]
)
def test_g11_a_code_is_a_short_word(code: str, read: str | None) -> None:
    assert read == classify(401, {}, body(detail={"code": code}), WALL).code


def test_g23_no_server_writes_a_line_into_our_logs() -> None:
    said = classify(401, {"content-type": "a"}, body(detail="no\r\nERROR \x1b[31mred\u2028"), WALL).detail
    assert said == "no  ERROR  [31mred "


NAMES = ["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "content-type"]
VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda d: d.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    st.sampled_from([DATE, "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359", "0", "-0", "1e9"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["access_token", "expires_in", "detail", "error", "exp", "code"]), JSON)
TOKENS = st.one_of(JSON, FIELDS.map(lambda claims: jwt(**claims)), st.just("a.b.c"))
ANSWERS = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.tuples(FIELDS, TOKENS).map(lambda pair: body(**(pair[0] | {"access_token": pair[1]}))),
)


@settings(max_examples=1500, deadline=None)
@given(st.integers(-5, 1000), st.dictionaries(st.sampled_from(NAMES), VALUES), ANSWERS, st.floats(0, 4e9))
def test_g11_g22_no_answer_makes_it_raise_and_every_number_is_sane(
    status: int, headers: dict[str, str], answer: bytes, wall: float
) -> None:
    outcome = classify(status, headers, answer, wall)
    assert outcome.kind in KINDS
    assert (outcome.kind == OK) == bool(outcome.jwt)
    for seconds in (outcome.retry_after, outcome.exhausted_for):
        assert seconds is None or 0.0 <= seconds < 1e9
    assert outcome.life is None or 0.0 < outcome.life < 2e11
    assert isinstance(outcome.detail, str)


@given(st.text(max_size=40))
def test_g21_any_text_from_a_cache_file_has_an_expiry_or_none(text: str) -> None:
    expiry = claims_expiry(text)
    assert expiry is None or isinstance(expiry, float)
