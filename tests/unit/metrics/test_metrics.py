"""Metrics: the catalogue, the journal and the collector, each with a private registry."""

from __future__ import annotations

import gc
import logging
import os
import random
import re
import threading
from collections.abc import Iterator
from typing import Any

import pybreaker
import pytest
import urllib3
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.private import BY_NAME, COUNTER, GAUGE, HISTOGRAM, METRICS, PREFIX, Counters
from tests.support.private import events as ev

LAZY = {metric.full_name for metric in METRICS if metric.lazy}


@pytest.fixture(scope="module")
def colony() -> Iterator[FakeColony]:
    with FakeColony() as server:
        yield server


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def make(colony: FakeColony, registry: CollectorRegistry, name: str = "p", **options: Any) -> cp.ColonyPool:
    return cp.ColonyPool(colony.base_url, registry=registry, token_cache=None, name=name, **options)


def scrape(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(registry: CollectorRegistry, name: str, pool: str = "p", **labels: str) -> float | None:
    return scrape(registry).get((PREFIX + name, tuple(sorted({"pool": pool, **labels}.items()))))


def test_every_name_follows_the_conventions() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind == COUNTER), metric.name
        assert (metric.kind == HISTOGRAM) == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert metric.help.endswith((".", "lease ran out; cancelled: given back."))
        assert metric.question.endswith("?")
        assert not metric.lazy or (metric.kind == GAUGE and metric.name.endswith("_timestamp_seconds"))
        known = [set(values) for _, values in metric.labels]
        for series in metric.series():
            assert all(word in words for word, words in zip(series, known, strict=True))
    assert len(BY_NAME) == len(METRICS)


def test_all_series_exist_from_the_first_scrape_on(colony: FakeColony, registry: CollectorRegistry) -> None:
    with make(colony, registry):
        found = scrape(registry)
        for metric in METRICS:
            if metric.full_name in LAZY or metric.kind == HISTOGRAM:
                continue
            for series in metric.series():
                labels = {"pool": "p", **dict(zip(metric.label_names, series, strict=True))}
                assert (metric.full_name, tuple(sorted(labels.items()))) in found, (metric.name, series)
        assert not {name for name, _ in found} & LAZY


def test_every_event_has_its_place_in_the_journal() -> None:
    events: list[ev.Event] = [
        ev.AttemptStarted("down", False),
        ev.AttemptFinished("ok", 200, 0.1, probe=True, stale=True, lost=True),
        ev.ProbeFinished("lost"),
        ev.TokenAsked("disk"),
        ev.CallFinished("ok", 1.0, parked=True),
        ev.RefreshFinished("soft", "failure", 1.0),
        ev.RetryDenied("budget"),
        ev.HoldStarted(1.0, "words", "throttled"),
        ev.KeyDenied(401, None, 60.0),
        ev.ServerBlamed(6),
        ev.StateChanged(ev.HALF_OPEN, ev.CLOSED, 5.0, "words", since_open=4.0),
        ev.WindowCut(2.0),
    ]
    counted_otherwise = {ev.StreakStarted, ev.HoldCleared}  # by the attempt and the hold that they belong to
    assert {type(event) for event in events} | counted_otherwise == set(ev.Event.__args__)
    counters = Counters()
    for event in events:
        before = {name: dict(series) for name, series in counters.totals.items()}
        counters.note(event)
        assert counters.totals != before, event
    assert counters.count("parked_calls_total", "resumed") == 1
    assert counters.count("leases_expired_total", "probe") == 1
    twice = Counters()
    twice.absorb(counters)
    twice.absorb(counters)
    assert twice.count("attempts_total") == 2
    assert twice.histograms["breaker_recovery_seconds"].total == 8.0


def test_what_happened_is_counted(colony: FakeColony, registry: CollectorRegistry) -> None:
    with make(colony, registry) as pool:
        agent = pool.agent("col_metrics")
        agent.token()
        assert value(registry, "attempts_total", outcome="ok") == 1
        assert value(registry, "calls_total", outcome="ok") == 1
        assert value(registry, "token_requests_total", source="flight") == 1
        assert value(registry, "token_refreshes_total", trigger="miss", result="success") == 1
        assert value(registry, "tokens", freshness="fresh") == 1
        assert value(registry, "connections_opened_total") == 1
        pool.breaker.open()
        assert value(registry, "breaker_state", state="open") == 1
        assert value(registry, "breaker_state", state="closed") == 0
        assert value(registry, "breaker_next_probe_timestamp_seconds") is not None
        colony.deny("col_denied")
        pool.breaker.close()
        with pytest.raises(cp.ColonyAuthError):
            pool.agent("col_denied").token()
        assert value(registry, "denied_keys") == 1
        assert value(registry, "denials_total", kind="key") == 1
        colony.revoke_tokens("col_metrics")
        agent.get("/users/me")
        assert value(registry, "token_refreshes_total", trigger="forced", result="success") == 1
        text = generate_latest(registry).decode()
        assert "col_" not in text
        assert pool.base_url not in text


def test_a_scrape_changes_nothing(colony: FakeColony, registry: CollectorRegistry) -> None:
    with make(colony, registry) as pool:
        pool.agent("col_a").token()
        first, second = scrape(registry), scrape(registry)
        clocks = {"colony_pool_breaker_state_seconds_total", "colony_pool_breaker_last_transition_timestamp_seconds"}
        clocks |= {"colony_pool_token_last_refresh_timestamp_seconds"}
        for key, before in first.items():
            if key[0] not in clocks:
                assert before == second[key], key


def test_pools_of_one_name_are_one(colony: FakeColony, registry: CollectorRegistry) -> None:
    with make(colony, registry) as one, make(colony, registry) as other:
        one.agent("col_a").token()
        other.agent("col_a").token()
        other.breaker.open()
        assert value(registry, "attempts_total", outcome="ok") == 2
        assert value(registry, "breaker_state", state="open") == 1
        assert value(registry, "breaker_state", state="closed") == 1
    assert value(registry, "breaker_state", state="open") is None, "no ghost of a gauge"
    assert value(registry, "attempts_total", outcome="ok") == 2, "counters stay"
    with make(colony, registry) as third:
        third.agent("col_a").token()
        assert value(registry, "attempts_total", outcome="ok") == 3, "and go on"


def test_a_pool_that_was_dropped_unclosed_leaves_counters_and_no_gauge(
    colony: FakeColony, registry: CollectorRegistry
) -> None:
    make(colony, registry, timeout=cp.Timeout(total=0.5)).agent("col_a").token()
    for _ in range(200):  # its worker threads linger for a moment, and so may the timer of its attempt
        gc.collect()
        if value(registry, "breaker_state", state="closed") is None:
            break
        threading.Event().wait(0.05)
    assert value(registry, "attempts_total", outcome="ok") == 1
    assert value(registry, "breaker_state", state="closed") is None


def test_names_without_bound_end_in_one(colony: FakeColony, registry: CollectorRegistry) -> None:
    pools = [make(colony, registry, f"name {i}") for i in range(70)]
    names = {dict(labels).get("pool") for _, labels in scrape(registry)} - {None}
    assert len(names) == 65
    assert value(registry, "breaker_state", "_other", state="closed") == 6
    for pool in pools:
        pool.close()


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "col_secret_key"])
def test_a_name_that_cannot_be_a_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name: "):
        cp.ColonyPool(registry=None, name=name)


def test_g24_a_forked_child_counts_from_nought(colony: FakeColony, registry: CollectorRegistry) -> None:
    with make(colony, registry) as pool:
        pool.agent("col_a").token()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                pool.agent("col_child").token()
                os.write(write, str(value(registry, "attempts_total", outcome="ok")).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(read, 100) == b"1.0"
        assert value(registry, "attempts_total", outcome="ok") == 1
        os.close(read)
        os.close(write)


def test_the_metrics_server_serves_and_ends_with_the_pool(colony: FakeColony, registry: CollectorRegistry) -> None:
    with make(colony, registry) as pool, urllib3.PoolManager(retries=False) as manager:
        url = f"http://127.0.0.1:{pool.start_metrics_server(0)}/metrics"
        assert b"colony_pool_breaker_state" in manager.request("GET", url).data
        manager.clear()
        pool.close()
        with pytest.raises(urllib3.exceptions.HTTPError):
            manager.request("GET", url)
        with pytest.raises(cp.PoolClosedError):  # nobody would end it
            pool.start_metrics_server(0)
    with cp.ColonyPool(colony.base_url, registry=None) as pool, pytest.raises(RuntimeError, match="registry=None"):
        pool.start_metrics_server(0)


def test_a_port_that_is_taken_is_named(colony: FakeColony, registry: CollectorRegistry) -> None:
    with make(colony, registry) as pool:
        port = pool.start_metrics_server(0)
        with pytest.raises(OSError, match=rf"port={port}, .*colony-pool metrics serve"):
            pool.start_metrics_server(port)


@pytest.mark.parametrize("seed", range(5))
def test_g23_random_keys_and_exception_texts_reach_no_metric_and_no_log_line(
    colony: FakeColony, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    dice = random.Random(seed)
    texts = [f"{dice.getrandbits(64):016x}" for _ in range(5)]
    keys, (own, server) = [f"col_{text}" for text in texts[:3]], texts[3:]

    def broken() -> str:
        raise RuntimeError(own)

    caplog.set_level(logging.DEBUG)
    with make(colony, registry) as pool:
        jwt = pool.agent(keys[0]).token()
        with pytest.raises(RuntimeError, match=own):
            pool.agent(keys[1], totp=broken).token()
        for status in (401, 500, 429):
            colony.behave("status", status=status, body=f'{{"detail": "{server}"}}', only="/auth/token")
            with pytest.raises(cp.ColonyAPIError):
                pool.agent(keys[2]).token()
            pool.agent(keys[2]).invalidate()
        colony.behave("healthy")
        exposed = generate_latest(registry).decode()
    # Who waits for a call is woken before a line is written of it; a pool that is closed has written all of them.
    exposed += caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert "was refused" in exposed
    assert "on hold" in exposed
    assert [text for text in (*texts, jwt) if text in exposed] == []


def test_g23_what_a_listener_raises_is_counted_and_its_text_is_logged_nowhere(
    colony: FakeColony, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    text = "the text of an exception, with col_a_key"

    class Broken(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            raise RuntimeError(text)

    with make(colony, registry) as pool:
        pool.breaker.add_listener(Broken())
        pool.breaker.open()
    # ``close`` has it told what is left.
    assert value(registry, "listener_errors_total") == 1
    assert "RuntimeError" in caplog.text
    assert "test_metrics.py" in caplog.text, "it says where"
    assert "text of an exception" not in caplog.text
    assert "col_a_key" not in caplog.text + generate_latest(registry).decode()
