"""G11, G22: answers that are odd, but are answers: each is read alike on every runtime."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from functools import partial
from typing import Any

from . import World, error_of, scenario
from ._after import assert_recovered, key

TOKEN = b'{"access_token": "odd.odd.odd", "expires_in": 3600}'
BOM = b"\xef\xbb\xbf"
REFUSED = b'{"detail": "no"}'


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


# (Content-Encoding, how): what comes of it is the body.
READ: list[tuple[list[str], Any]] = [
    (["gzip"], gzip.compress),
    (["GZip"], gzip.compress),
    (["x-gzip"], gzip.compress),
    (["deflate"], zlib.compress),
    (["deflate"], _raw_deflate),
    (["deflate, gzip"], lambda body: gzip.compress(zlib.compress(body))),
    (["deflate", "gzip"], lambda body: gzip.compress(zlib.compress(body))),
    (["identity, gzip"], gzip.compress),
    (["gzip"], lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    (["gzip"], lambda body: gzip.compress(b"") * 500 + gzip.compress(body)),
    (["gzip"], lambda body: gzip.compress(BOM + body)),
    ([], lambda body: BOM + body),
    ([""], lambda body: body),
    (["identity"], lambda body: body),
    (["utf-8"], lambda body: body),  # a slip of who set up the server; it is no coding
]
# (Content-Encoding, body, words of the error)
UNREADABLE: list[tuple[str, bytes, str]] = [
    ("br", b"\x0b\x02\x80{}\x03", "(br)"),
    ("compress", b"\x1f\x9d\x90", "the body is compressed (compress)"),
    ("gzip, br", b"\x0b", "(gzip, br)"),
    ("gzip", TOKEN, "the body cannot be decoded (gzip)"),
    (", ".join(["gzip"] * 9), gzip.compress(TOKEN), "the body cannot be decoded"),
    ("gzip", gzip.compress(b"\0" * 80_000_000, 1), "the body is over"),
    ("gzip, gzip", gzip.compress(gzip.compress(b"\0" * 80_000_000, 1)), "the body is over"),
]


def _answer(body: bytes, *headers: str, status: str = "200 OK") -> dict[str, Any]:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""])
    return {"data": head + body.decode("latin-1"), "then": "keep"}


def _coded(body: bytes, codings: list[str], status: str = "200 OK") -> dict[str, Any]:
    return _answer(body, *(f"Content-Encoding: {coding}" for coding in codings), status=status)


def _once(w: World) -> Any:
    from colony_pool import RetryConfig, Timeout

    once = RetryConfig(max_retries=0)
    return w.pool(auth_token_retry=once, retry=once, timeout=Timeout(read=2.0, total=4.0))


@scenario()
def g22_a_body_that_is_compressed_though_nobody_asked_is_read(w: World) -> None:
    """As gateways and caches send it; a mark of the byte order before the JSON is no part of it either."""
    pool = _once(w)
    for number, (codings, pack) in enumerate(READ):
        packed = pack(TOKEN)
        w.colony.behave("raw", **_coded(packed, codings))
        agent = pool.agent(key(number))
        assert agent.token() == "odd.odd.odd", number
        answer = agent.get("/users/me")
        assert answer.json() == json.loads(TOKEN), number
        body = answer.content.removeprefix(BOM)
        assert body == TOKEN
        coding = ", ".join(codings)
        if packed.removeprefix(BOM) == TOKEN:
            assert answer.headers.get("content-encoding", "") == coding
        else:
            assert "content-encoding" not in answer.headers, "the body is not compressed any more"
        assert answer.headers["content-length"] == str(len(answer.content))
    w.colony.behave("healthy")
    assert_recovered(w, pool)


@scenario()
def g22_a_body_that_cannot_be_decoded_is_told_so_and_no_bomb_goes_off(w: World) -> None:
    from colony_pool import ColonyServerError

    pool = _once(w)
    warm = pool.agent(key("warm"))
    for number, (coding, body, words) in enumerate(UNREADABLE):
        warm.token()
        w.colony.behave("raw", **_coded(body, [coding]))
        tracemalloc.start()
        error: Any = error_of(pool.agent(key(number)).token)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert type(error) is ColonyServerError
        assert words in str(error), (coding, error)
        assert peak < len(body) + 4_000_000, (coding, peak)
        error = error_of(warm.get, "/users/me")
        assert type(error) is ColonyServerError
        assert words in str(error), (coding, error)
        w.colony.behave("healthy")
    assert_recovered(w, pool)


@scenario()
def g11_an_error_that_is_compressed_is_the_apis_own(w: World) -> None:
    """It refuses a key, or a token, as plain JSON does; and one that cannot be decoded refuses none."""
    from colony_pool import ColonyAuthError, ColonyServerError

    pool = _once(w)
    for number, body in enumerate((gzip.compress(REFUSED), gzip.compress(BOM + REFUSED))):
        w.colony.behave("raw", **_coded(body, ["gzip"], "401 Unauthorized"))
        assert type(error_of(pool.agent(key(number)).token)) is ColonyAuthError
    w.colony.behave("raw", **_answer(BOM + REFUSED, status="401 Unauthorized"))
    assert type(error_of(pool.agent(key("bom")).token)) is ColonyAuthError
    assert pool.status().denied == 3
    for coding, body in (("br", b"\x0b"), ("gzip", REFUSED), ("gzip", gzip.compress(REFUSED)[:15])):
        w.colony.behave("raw", **_coded(body, [coding], "401 Unauthorized"))
        assert type(error_of(pool.agent(key("fine")).token)) is ColonyServerError
    assert pool.status().denied == 3
    w.colony.behave("healthy")
    agent = pool.agent(key("fine"))
    assert agent.get("/users/me").status == 200
    w.colony.behave("raw", **_coded(gzip.compress(REFUSED), ["gzip"], "401 Unauthorized"), only="/users/me")
    asked = len(w.token_requests())
    error = error_of(agent.get, "/users/me")
    assert type(error) is ColonyAuthError, error
    assert len(w.token_requests()) == asked + 1, "the token was refused"
    w.colony.behave("raw", **_answer(b"", "Content-Encoding: gzip"), only="/users/me")
    assert agent.request("HEAD", "/users/me").status == 200


def _asked(w: World, times: int) -> bool:
    return len(w.token_requests()) >= times


@scenario()
def g11_a_request_that_was_not_looked_at_is_made_again(w: World) -> None:
    """421 and 425, whoever says it: RFC 9110 15.5.20, RFC 8470 5.2. No key is refused, and no deed repeated."""
    from colony_pool import ColonyAPIError, RetryConfig

    retry = RetryConfig(max_retries=2, base_delay=0.01)
    pool = w.pool(auth_token_retry=RetryConfig(max_retries=1000, base_delay=0.05, max_delay=0.05), retry=retry)
    agent = pool.agent(key("one"))
    agent.token()
    for status in (421, 425):
        for body in ("", "<html>", '{"detail": "no"}'):
            for method, times in (("GET", 3), ("POST", 3), ("PATCH", 1)):
                w.colony.behave("status", status=status, body=body, only="/thing")
                before = w.colony.count("/thing")
                error: Any = error_of(agent.request, method, "/thing")
                assert type(error) is ColonyAPIError
                assert error.status == status
                assert "has not looked at the request" in error.hint
                assert w.colony.count("/thing") == before + times, (status, method)
            asked = len(w.token_requests())
            w.colony.behave("status", status=status, body=body, only="/auth/token")
            other = pool.agent(key(f"{status}{len(body)}"))
            call = w.spawn(other.token)
            w.until(partial(_asked, w, asked + 2), "it is made again")
            w.colony.behave("healthy", only="/auth/token")
            assert call.result()
    assert pool.status().denied == 0


@scenario()
def g11_g27_a_connection_that_leads_to_a_server_of_other_addresses_is_left(w: World) -> None:
    """421 on each connection that is open: what is made again leaves on a new one."""
    from colony_pool import RetryConfig

    retry = RetryConfig(max_retries=1, base_delay=0.01)
    pool = w.pool(auth_token_retry=retry, retry=retry)
    agent = pool.agent(key("one"))
    for method in ("GET", "POST"):
        assert agent.get("/users/me").status == 200
        w.colony.behave("status", status=421, open_only=True)
        assert agent.request(method, "/users/me").status == 200
        assert agent.get("/users/me").status == 200
        w.colony.behave("healthy")
    assert agent.get("/users/me").status == 200
    w.colony.behave("status", status=421, body='{"detail": "no"}', open_only=True)
    agent.invalidate()
    assert agent.token()


@scenario()
def g13_a_header_that_comes_several_times_is_one_value(w: World) -> None:
    from colony_pool import ColonyRateLimitError

    pool = _once(w)
    agent = pool.agent(key("one"))
    agent.token()
    headers = ["Link: </1>; rel=next", "Set-Cookie: a=1", "link: </9>; rel=last", "Set-Cookie: b=2", "X-Name: Zo\xeb"]
    w.colony.behave("raw", **_answer(b"{}", *headers), only="/users/me")
    answer = agent.get("/users/me")
    assert answer.headers["link"] == "</1>; rel=next, </9>; rel=last"
    assert answer.headers["set-cookie"] == "a=1, b=2"
    assert answer.headers["x-name"] == "Zo\xeb", "as the bytes are, one letter each"
    w.colony.behave("raw", **_answer(b"{}", "X-Name: Zo\xc3\xab"), only="/users/me")
    assert agent.get("/users/me").headers["x-name"] == "Zo\xc3\xab"
    many = ["Retry-After: 7", "Retry-After: 9", "RETRY-AFTER: 8"]
    w.colony.behave("raw", **_answer(REFUSED, *many, status="429 Too Many Requests"), only="/users/me")
    error: Any = error_of(agent.get, "/users/me")
    assert (type(error), error.retry_after) == (ColonyRateLimitError, 9.0)
    chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    w.colony.behave("raw", data=chunked, then="keep", only="/users/me")
    assert "content-length" not in agent.get("/users/me").headers, "nobody has sent one"


@scenario()
def g22_another_protocol_is_no_answer_and_a_redirect_to_nowhere_is_one(w: World) -> None:
    from colony_pool import ColonyAPIError, ColonyNetworkError

    pool = _once(w)
    agent = pool.agent(key("one"))
    agent.token()
    switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    w.colony.behave("raw", data=switch, then="keep")
    for call in (lambda: agent.get("/users/me"), pool.agent(key("other")).token):
        error: Any = error_of(call)
        assert type(error) is ColonyNetworkError
        assert "the answer is not HTTP" in str(error)
    for where in ("http://a:b:c/", "//", "http://[::1/", "?"):
        w.colony.behave("raw", **_answer(b"", f"Location: {where}", status="302 Found"))
        error = error_of(agent.get, "/users/me")
        assert type(error) is ColonyAPIError
        assert error.status == 302
        assert "HTTP 302" in str(error)
    w.colony.behave("healthy")
    assert agent.get("/users/me").status == 200
    assert_recovered(w, pool)
