"""``colony-pool top`` against real pools' metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

import colony_pool as cp
from colony_pool.testing import FakeColony
from tests.support.private import PoolNumbers, Sample, advice, span, summarize
from tests.support.private import read_numbers as read


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The metrics of two pools: one calm, one that an operator has opened."""
    registry = CollectorRegistry()
    with (
        FakeColony() as colony,
        cp.ColonyPool(colony.base_url, registry=registry, token_cache=None, name="calm") as calm,
        cp.ColonyPool(colony.base_url, registry=registry, token_cache=None, name="open") as other,
    ):
        calm.agent("col_a").token()
        other.breaker.open()
        yield f"127.0.0.1:{calm.start_metrics_server(0)}"


def top(*args: str, width: int = 140) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "colony_pool", "top", "--interval", "0.2", *args]
    env = {**os.environ, "COLUMNS": str(width)}
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)


def test_once_is_a_table_and_what_to_do(address: str) -> None:
    done = top(address, "--once")
    assert done.returncode == 0, done.stderr
    assert "does not answer for 1 of 2 pools" in done.stdout
    assert "Do not restart" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("calm", "open"))]
    assert [row[:2] for row in rows] == [["open", "open"], ["calm", "closed"]], "trouble comes first"


def test_a_terminal_of_80_columns_cuts_nothing_off(address: str) -> None:
    told = top(address, "127.0.0.1:9", "--once", width=80).stdout
    assert "\u2026" not in told
    assert "call its owner. 0 calls wait" in told, "an outage is told before an address that does not answer"
    assert "http://127.0.0.1:9/metrics: connection refused" in told
    assert all(name in told for name in ("next probe", "first ends", "calls ok", "budget"))
    assert max(len(line) for line in told.splitlines()) <= 80


def test_who_sees_no_pool_sees_no_table() -> None:
    told = top("127.0.0.1:9", "--once").stdout
    assert told.startswith("1 address does not answer: is the process up")
    assert "next probe" not in told


def test_once_json_is_for_scripts(address: str) -> None:
    told = json.loads(top(f"http://{address}/metrics", "--once", "--json").stdout)
    calm, troubled = told["pools"]
    assert (calm["pool"], calm["state"], calm["tokens"], calm["processes"]) == ("calm", "closed", 1, 1)
    assert (troubled["pool"], troubled["state"], troubled["not_closed"]) == ("open", "open", 1)
    assert troubled["next_probe_in"] is not None
    assert calm["attempts_per_s"] == 0.0
    assert told["silent"] == {}


def test_an_address_that_does_not_answer_is_5_and_the_others_are_shown(address: str) -> None:
    done = top(address, "127.0.0.1:9", "--once", "--json")
    assert done.returncode == 5
    told = json.loads(done.stdout.splitlines()[0])
    assert told["silent"] == {"http://127.0.0.1:9/metrics": "connection refused"}
    assert len(told["pools"]) == 2
    assert "connection refused" in done.stderr


@pytest.mark.parametrize("bad", ["ftp://x", "http://"])
def test_what_is_no_address_is_misuse(bad: str) -> None:
    assert top(bad, "--once").returncode == 2


def test_it_goes_on_until_ctrl_c(address: str) -> None:
    command = [sys.executable, "-u", "-m", "colony_pool", "top", "--interval", "0.2", "--json", address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert [len(look["pools"]) for look in looks] == [2, 2, 2]


def test_a_counter_that_went_back_has_begun_anew() -> None:
    def look(count: float, at: float) -> Sample:
        return Sample(PoolNumbers("p", {("attempts_total", (("outcome", "ok"),)): count}), at)

    assert summarize("a", look(100.0, 10.0), look(80.0, 0.0)).attempts_per_s == 2.0
    assert summarize("a", look(5.0, 10.0), look(80.0, 0.0)).attempts_per_s == 0.5
    assert summarize("a", look(5.0, 10.0), None).attempts_per_s is None


def test_what_a_process_has_nothing_to_tell_about_is_not_known() -> None:
    """An application that serves the shared files by itself shows infinities."""
    (numbers,) = read(
        'colony_pool_breaker_state{pool="p",state="closed"} 1\n'
        'colony_pool_breaker_next_probe_timestamp_seconds{pool="p"} +Inf\n'
        'colony_pool_waiters{pool="p",kind="probe"} NaN\n'
    )
    seen = summarize("a", Sample(numbers, 1e9), None)
    assert (seen.state, seen.next_probe_in, seen.waiters) == ("closed", None, 0)


def test_what_is_no_exposition_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        list(read("<html>502</html>"))
    assert list(read("")) == []
    assert advice([], 0) == "No pool is exported there."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.04, "0.0 s"), (59.6, "60 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h")],
)
def test_spans_read_well(seconds: float | None, words: str) -> None:
    assert span(seconds) == words
