"""What FakeColony is told: a wrong name or value is refused where it was written, and a right one holds."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from colony_pool.testing import FakeColony, FakeColonyError, totp_code
from tests.conftest import Client

SECRET = "JBSWY3DPEHPK3PXP"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (lambda c: c.behave("status", only=5), "only: must be a string, not int"),
        (lambda c: c.behave([]), "behaviour"),
        (lambda c: c.behave("status", headers={"X": "\u20ac"}), "U[+]0000 to U[+]00FF"),
        (lambda c: c.behave("redirect", location="/\u20ac"), "U[+]0000 to U[+]00FF"),
        (lambda c: c.behave("status", body="\ud800"), "without surrogates"),
        (lambda c: c.schedule([(0, "silence")], only="/auth/token"), "it acts before any request"),
        (lambda c: c.schedule([(0, "status", {"status": 503}, "x")]), "must be .seconds, behaviour."),
        (lambda c: c.schedule([(0,)]), "must be .seconds, behaviour."),
        (lambda c: c.schedule([(0, "status", "x")]), "must be .seconds, behaviour."),
        (lambda c: c.schedule([(math.nan, "healthy")]), "seconds=nan"),
        (lambda c: c.schedule([(0, "healthy")], every=math.nan), "every=nan"),
        (lambda c: c.capacity("5"), "rate='5'"),
        (lambda c: c.capacity(5, max_in_flight=2.5), "a whole number from 1"),
        (lambda c: c.rate_limit(2.5), "a whole number from 0"),
        (lambda c: c.latency(None), "latency=None"),
        (lambda c: c.deny("col_a", status="401"), "status='401'"),
        (lambda c: c.deny(None), "api_key: must be a string"),
        (lambda c: c.key(b"col_a", totp_secret=SECRET), "api_key: must be a string"),
    ],
)
def test_what_it_cannot_do_is_refused(client: Client, setting: Callable[[Any], None], message: str) -> None:
    with pytest.raises(FakeColonyError, match=message):
        setting(client.colony)
    assert 200 == client.token().status
    assert 0 == client.colony.stats().in_flight


def test_an_answer_may_be_big(client: Client) -> None:
    client.colony.behave("status", body="x" * 20_000_000)
    assert 20_000_000 == len(client.token().data)


def test_a_behaviour_for_the_same_paths_ends_their_schedule_and_no_other(client: Client) -> None:
    client.colony.schedule([(0, "status"), (0.05, "status", {"status": 503})], only="/auth/token")
    client.colony.behave("healthy", only="/users/me")
    while 503 != client.token().status:
        pass
    client.colony.schedule([(0, "status"), (0.05, "status", {"status": 503})], every=0.1, only="/auth/token")
    client.colony.behave("healthy", only="/auth/token")
    begun = client.colony.now()
    while client.colony.now() < begun + 0.2:
        assert 200 == client.token().status


def test_one_keys_connection_ends_with_its_second_request(client: Client) -> None:
    client.colony.key("col_closed", behaviour="close_reused")
    client.token("col_other")
    with pytest.raises(Exception, match="Connection aborted"):
        client.token("col_closed")
    client.colony.key("col_closed", behaviour="healthy")


def test_a_gateway_before_one_key_is_not_counted_by_the_rate_limit(client: Client) -> None:
    client.colony.rate_limit(1)
    client.colony.key("col_poisoned", behaviour="status")
    assert 502 == client.token("col_poisoned").status
    assert 200 == client.token("col_fine").status


def test_a_secret_may_come_in_groups_as_apps_show_it() -> None:
    assert totp_code(SECRET, 0.0) == totp_code("jbsw y3dp ehpk 3pxp", 0.0)


def test_a_key_that_is_no_text_is_answered(client: Client) -> None:
    assert 200 == client.ask("POST", "/auth/token", body=b'{"api_key": "col_\\ud800"}').status
    assert 0 == client.colony.stats().in_flight


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_nobody_closed_ends_when_nobody_has_it() -> None:
    colony = FakeColony()
    server: Any = colony._process._server
    process = server._process
    del colony
    assert -9 == process.wait(timeout=30.0)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def test_greenlets_of_several_threads_may_ask_at_once() -> None:
    code = """
from gevent import monkey; monkey.patch_all()
import gevent
from colony_pool.testing import FakeColony
with FakeColony() as colony:
    def ask():
        for _ in range(50): colony.stats()
        return "ok"
    ask()
    pool = gevent.get_hub().threadpool
    print(pool.spawn(ask).get(timeout=30))  # over the connection of this hub, in another's thread
    print(*(job.get(timeout=30) for job in [gevent.spawn(ask) for _ in range(4)] + [pool.spawn(ask)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, env={**os.environ}
    )
    assert ["ok"] * 6 == done.stdout.split(), done.stderr
