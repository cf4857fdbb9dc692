"""Answers that are none, and networks that are none."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import Any

from . import World, error_of, scenario

BAD: dict[str, dict[str, Any]] = {
    "status": {"status": 503},
    "html": {},
    "truncated": {},
    "huge": {"size": 200_000},
    "gzip_bomb": {"size": 5_000_000},
    "not_json": {},
    "not_utf8": {},
    "expired": {},
    "no_token": {},
    "redirect": {"location": "http://127.0.0.1:9/steal"},
}


@scenario()
def g11_g22_whatever_is_no_answer_counts_as_down(w: World) -> None:
    from colony_pool import ColonyServerError, RetryConfig

    pool = w.pool(auth_token_retry=RetryConfig(max_retries=0, retry_on=frozenset({502, 503, 504})))
    for name, options in BAD.items():
        w.colony.behave(name, **options)
        before = pool.journal.count("attempts_total", "down")
        error: Any = error_of(pool.agent(f"col_{name}").token)
        assert type(error) is ColonyServerError, (name, error)
        assert pool.journal.count("attempts_total", "down") == before + 1, name
    w.colony.behave("healthy")
    assert pool.agent("col_html").token()


@scenario()
def g22_a_dripping_answer_is_cut_off(w: World) -> None:
    from colony_pool import ColonyNetworkError, Timeout

    pool = w.pool(timeout=Timeout(connect=1, read=1, total=0.5))
    for headers in (True, False):
        w.colony.behave("drip", bytes_per_s=20.0, headers=headers)
        error: Any = error_of(pool.agent(f"col_{headers}").token)
        assert type(error) is ColonyNetworkError, error
        assert "timeout" in str(error)
    w.until(lambda: pool.status().connections[0] == 0)


@scenario()
def network_errors_of_a_first_attempt_are_raised_at_once(w: World) -> None:
    from colony_pool import ColonyNetworkError, RetryConfig

    pool = w.pool()
    w.colony.stop_listening()
    error: Any = error_of(pool.agent("col_a").token)
    assert type(error) is ColonyNetworkError
    assert "refused" in str(error)
    assert error.status == 0
    w.colony.start_listening()
    w.colony.behave("reset")
    assert "reset" in str(error_of(pool.agent("col_a").token))
    w.colony.behave("healthy")
    assert pool.agent("col_a").token()
    retrying = w.fast(
        auth_token_retry=RetryConfig(
            base_delay=0.05, max_delay=0.1, max_retries=50, retry_network_errors=True, retry_on=frozenset({502})
        )
    )
    w.colony.stop_listening()
    task = w.spawn(retrying.agent("col_b").token)
    w.until(lambda: retrying.journal.count("attempts_total", "network") >= 2)
    w.colony.start_listening()
    assert task.result()


@scenario()
def g22_no_dns_no_answer_and_no_hang(w: World) -> None:
    from colony_pool import ColonyNetworkError

    error: Any = error_of(w.pool("https://nonexistent.invalid/api/v1").agent("col_a").token)
    assert type(error) is ColonyNetworkError
    assert "dns" in str(error)


@scenario()
def g23_secrets_are_found_nowhere(w: World) -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    records: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record) + repr(record.__dict__))

    logging.getLogger().addHandler(Keep())
    logging.getLogger().setLevel(logging.DEBUG)
    key, code = "col_verysecretkey", "13579246"
    registry = CollectorRegistry()
    pool = w.fast(registry=registry)
    agent = pool.agent(key, totp=lambda: code)
    found: list[str] = []
    jwt = ""
    behaviours: list[tuple[str, dict[str, Any]]] = [
        ("healthy", {}), ("status", {"status": 401, "body": '{"detail": "' + key + " " + code + '"}'}),
        ("status", {"status": 500, "body": '{"detail": {"message": "' + key + '", "code": "' + key + '"}}'}),
        ("truncated", {}), ("reset", {}), ("not_json", {}), ("redirect", {}),
    ]  # fmt: skip
    for name, options in behaviours:
        w.colony.behave(name, **options)
        agent.invalidate()
        agent._credential._spent.clear()
        try:
            jwt = agent.token(max_wait=0.5)
            w.colony.behave("status", status=404, body=f'{{"detail": "{jwt}"}}')
            found.append(repr(error_of(agent.get, "/echo")))
        except Exception as error:
            text = traceback.TracebackException.from_exception(error, capture_locals=True)
            ours = [f for f in text.stack if "colony_pool" in (f.filename or "") and "testing" not in f.filename]
            found += [str(f.locals) for f in ours] + [
                "".join(text.format_exception_only()),
                repr(pickle.dumps(error)),
            ]
            found.append(repr(error) + repr(vars(error)) + repr(error.__context__) + repr(error.__cause__))
    assert jwt
    found += [repr(agent), repr(pool), repr(pool.status()), repr(agent._account), repr(agent._credential)]
    found += [generate_latest(registry).decode(), *records]
    assert records
    everything = "\n".join(found)
    for secret in (key, code, jwt):
        assert secret not in everything, everything[max(0, everything.index(secret) - 300) :][:400]


@scenario("gevent", "gevent-unpatched")
def one_slow_request_never_blocks_the_hub(w: World) -> None:
    import gevent

    w.colony.latency(1.0)
    ticks: list[int] = []

    def beat() -> None:
        while True:
            gevent.sleep(0.01)
            ticks.append(1)

    beating = gevent.spawn(beat)
    tasks = [w.spawn(w.pool().agent("col_a").token) for _ in range(5)]
    for task in tasks:
        task.result()
    beating.kill()
    assert len(ticks) > 10


@scenario("gevent", "gevent-unpatched")
def several_hubs_share_one_pool(w: World) -> None:
    import gevent
    import gevent.monkey

    start = gevent.monkey.get_original("threading", "Thread")
    pool = w.fast()
    w.colony.latency(0.01)
    done: list[str] = []

    def thread_of_greenlets(number: int) -> None:
        greenlets = [gevent.spawn(pool.agent(f"col_{number % 3}_{i}").token) for i in range(30)]
        gevent.joinall(greenlets, raise_error=True)
        done.extend(greenlet.value for greenlet in greenlets)

    threads = [start(target=thread_of_greenlets, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    w.until(lambda: not any(thread.is_alive() for thread in threads), "all threads end")
    assert len(done) == 180
    assert len(set(done)) == 90, "one flight per key over all hubs"
