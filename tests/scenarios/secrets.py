"""G23: a key, a token, a code is found in nothing that was printed, logged, raised, chained, pickled or exported."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import colony_pool
from tests.support.private import engine_of, listen, metrics_of, state_of
from tests.support.proxy import Proxy

from . import World, error_of, scenario

KEY, CODE, PASSWORD = "col_verysecretkey", "13579246", "proxysecret"
OURS = str(Path(colony_pool.__file__).parent)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and all that it was raised from, or while handling."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            todo += [one.__context__, one.__cause__]
            yield one


def _everything_about(error: BaseException) -> Iterator[str]:
    """What a log, a debugger or a crash reporter could show of it."""
    for one in _chain(error):
        yield repr(one) + str(one) + repr(one.args) + repr(vars(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename.startswith(OURS):
                yield f"{frame.f_code.co_qualname if hasattr(frame.f_code, 'co_qualname') else ''} {frame.f_locals!r}"
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in shown.stack if frame.filename.startswith(OURS)]
    yield "".join(str(frame.locals) for frame in ours) + "".join(shown.format_exception_only())
    yield repr(pickle.dumps(error)) + repr(vars(copy.copy(error)))


class _Heard:
    """All that is logged, by anybody, at any level."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        handler = logging.Handler()
        handler.emit = self._keep  # type: ignore[method-assign]
        self._formatter = logging.Formatter()
        logging.getLogger().addHandler(handler)
        for name in ("", "urllib3", "colony_pool", "gevent"):
            logging.getLogger(name).setLevel(logging.DEBUG)

    def _keep(self, record: logging.LogRecord) -> None:
        if record.name.startswith("httpcore") and "receive_response_headers" in str(record.msg):
            return  # at DEBUG it shows the headers that the server has written, none of ours
        self.lines.append(self._formatter.format(record) + repr(record.__dict__))


def _found_nowhere(texts: list[str], *secrets: str) -> None:
    everything = "\n".join(texts)
    for secret in secrets:
        place = everything.find(secret)
        assert place < 0, everything[max(0, place - 400) :][:600].replace(secret, "<SECRET>")


@scenario()
def g23_secrets_are_found_nowhere_on_the_way_to_a_token(w: World) -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    heard = _Heard()
    registry = CollectorRegistry()
    pool = w.fast(registry=registry)
    agent = pool.agent(KEY, totp=lambda: CODE)
    events: list[Any] = []
    listen(pool, events.append)
    echo = f'{{"detail": {{"message": "{KEY} {CODE}", "code": "{KEY}"}}, "{KEY}": "{CODE}"}}'
    found: list[str] = []
    tokens: list[str] = []
    behaviours: list[tuple[str, dict[str, Any]]] = [
        ("healthy", {}), ("status", {"status": 401, "body": echo}), ("status", {"status": 429, "body": echo}),
        ("status", {"status": 500, "body": echo}), ("status", {"status": 422, "body": echo}), ("truncated", {}),
        ("reset", {}), ("not_json", {}), ("redirect", {"location": f"/{KEY}"}), ("huge", {"size": 100_000}),
        ("status", {"status": 200, "body": echo}), ("status", {"status": 502, "body": echo}),
    ]  # fmt: skip
    for name, options in behaviours:
        w.colony.behave(name, **options)
        agent.invalidate()
        state_of(agent).credential._spent.clear()
        state_of(agent).account.next_code_at = float("-inf")
        engine_of(pool).dispatcher.rate_limit.paused_until = float("-inf")
        try:
            tokens.append(agent.token(max_wait=0.3))
        except Exception as error:
            found += _everything_about(error)
    assert len(tokens) == 1
    found += [
        repr(one)
        for one in (
            agent,
            pool,
            state_of(agent).account,
            state_of(agent).credential,
            metrics_of(pool).counters,
            pool.status(),
            events,
        )
    ]
    found += [generate_latest(registry).decode(), str(pool.status().as_dict()), *heard.lines]
    assert heard.lines
    assert len(found) > 40
    _found_nowhere(found, KEY, CODE, tokens[0])


@scenario()
def g23_secrets_are_found_nowhere_in_what_becomes_of_an_api_call(w: World) -> None:
    from colony_pool import RetryConfig, Timeout

    heard = _Heard()
    pool = w.pool(retry=RetryConfig(max_retries=1, base_delay=0.01), timeout=Timeout(read=0.3, total=2.0))
    agent = pool.agent(KEY)
    jwt = agent.token()
    echo = f'{{"detail": {{"message": "{jwt}", "code": "{jwt}"}}, "seen": ["Bearer {jwt}"], "{jwt}": 1}}'
    found: list[str] = []
    for status in (400, 401, 403, 404, 409, 418, 422, 429, 500, 502, 302):
        w.colony.behave("status", status=status, body=echo, headers={"X-Echo": jwt, "Location": f"/{jwt}"}, only="/x")
        found += _everything_about(error_of(agent.post, "/x", json={"a": 1}))
        jwt = agent.token()
        echo = echo.replace(echo.split('"')[5], jwt)
    behaviours: tuple[tuple[str, dict[str, Any]], ...] = (
        ("truncated", {}), ("reset", {}), ("hang", {}), ("gzip_bomb", {"size": 70_000_000}),
    )  # fmt: skip
    for name, options in behaviours:
        w.colony.behave(name, only="/x", **options)
        found += _everything_about(error_of(agent.get, "/x"))
    w.colony.behave("healthy", only="/x")
    response = agent.get("/x")
    found += [repr(response), *heard.lines]
    found.append(repr(error_of(agent.get, "/x", headers={"X": f"{jwt}\r\nY: 1"})))
    _found_nowhere(found, KEY, jwt)


@scenario()
def g23_what_is_refused_before_it_is_used_is_not_shown(w: World) -> None:
    heard = _Heard()
    pool = w.pool()
    odd = "1234-seed-of-a-code"
    found: list[str] = []
    attempts: list[Callable[[], object]] = [
        lambda: pool.agent(f"{KEY}\n"),
        lambda: pool.agent("col_a", totp=odd),
        pool.agent("col_b", totp=lambda: odd).token,
        pool.agent("col_c", totp=lambda: int(CODE)).token,
    ]
    for attempt in attempts:
        found += _everything_about(error_of(attempt))
    found += heard.lines
    _found_nowhere(found, KEY, odd, CODE)


@scenario()
def g23_a_proxys_password_is_found_nowhere(w: World) -> None:
    from colony_pool import RetryConfig

    heard, found = _Heard(), list[str]()
    working, refusing = Proxy(w.colony.port, f"user:{PASSWORD}"), Proxy(w.colony.port, "somebody:else")
    clear: dict[str, Any] = {"allow_insecure": True, "auth_token_retry": RetryConfig(max_retries=0)}
    for base_url in ("https://api.invalid/api/v1", "http://api.invalid/api/v1"):
        for url in ("http://user:{}@127.0.0.1:9", working.url("user:{}"), refusing.url("user:{}")):
            pool = w.pool(base_url, proxy=url.format(PASSWORD), **clear)
            if base_url.startswith("http:") and url.endswith(f":{working.port}"):
                assert pool.agent(KEY).get("/users/me").status == 200
            else:
                error: Any = error_of(pool.agent(KEY).token)
                assert "proxy" in str(error), error
                found += _everything_about(error)
            found += [
                repr(pool),
                str(pool.status()),
                repr(engine_of(pool).options),
                repr(engine_of(pool).network.proxy),
            ]
    for url in ("http://user:{}@proxy.invalid", "http://user:{}@proxy.invalid:0"):
        error = error_of(w.pool, proxy=url.format(PASSWORD))
        assert type(error) is ValueError
        found.append(repr(error))
    encoded = b64encode(f"user:{PASSWORD}".encode()).decode()
    assert any(encoded in asked.authorization for asked in working.asked)
    _found_nowhere([*found, *heard.lines], PASSWORD, encoded, KEY)
