"""G27: which idle connection may be used, by clocks of the test's own."""

from __future__ import annotations

import math

import pytest

from tests.support.private import ConnectionHealth, ConnectionRecord

NEW, ANY = math.inf, -math.inf


class Clocks:
    """A machine that may sleep: then only ages go on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0
        self.health = ConnectionHealth(300.0, 60.0, lambda: self.now, lambda: self.now + self.slept)

    def at(self, seconds: float) -> None:
        self.now = 1000.0 + seconds

    def opened(self, at: float) -> ConnectionRecord:
        self.at(at)
        return self.health.opened()

    def brings(self, record: ConnectionRecord, status: int, at: float, **headers: str) -> None:
        self.at(at)
        self.health.answered(record, status, {name.replace("_", "-"): value for name, value in headers.items()})
        self.health.rests(record)

    def suits(self, record: ConnectionRecord, since: float = ANY, *others: ConnectionRecord) -> bool:
        return self.health.suits(record, since, others)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.mark.parametrize("status", [502, 503, 504, 520, 525, 530])
def test_g27_a_gateway_s_failure_lets_a_connection_rest_until_a_newer_one_has_a_success(
    clocks: Clocks, status: int
) -> None:
    older, failed, newer = clocks.opened(0), clocks.opened(1), clocks.opened(2)
    clocks.brings(older, 200, 3)
    clocks.brings(failed, status, 4)
    assert not clocks.suits(failed)
    clocks.brings(older, 200, 5)
    assert not clocks.suits(failed, ANY, older), "an older one may lead to another backend"
    clocks.brings(newer, 500, 6)
    assert not clocks.suits(failed, ANY, newer), "that is no success"
    clocks.brings(newer, 404, 7)
    assert clocks.suits(failed), "the endpoint answers, whatever it says"
    clocks.brings(failed, status, 8)
    assert not clocks.suits(failed), "its next failure counts anew"


def test_g27_any_newer_connection_with_a_success_will_do(clocks: Clocks) -> None:
    """Also one that is not the newest."""
    failed, newer, newest = clocks.opened(0), clocks.opened(1), clocks.opened(2)
    clocks.brings(newest, 200, 3)
    clocks.brings(failed, 502, 4)
    clocks.brings(newer, 200, 5)
    assert clocks.suits(failed, ANY, newer, newest)
    assert not clocks.suits(failed, ANY, newest)


@pytest.mark.parametrize(("status", "headers"), [(500, {}), (501, {}), (503, {"retry_after": "1"}), (599, {})])
def test_g27_an_overloaded_server_is_spared_the_handshake(
    clocks: Clocks, status: int, headers: dict[str, str]
) -> None:
    record = clocks.opened(0)
    clocks.brings(record, status, 1, **headers)
    assert clocks.suits(record)


def test_g27_an_attempt_after_a_failure_needs_what_was_proven_since(clocks: Clocks) -> None:
    record, failed_at = clocks.opened(0), 1005.0
    clocks.brings(record, 200, 4)
    assert clocks.suits(record, 1003.5)
    assert not clocks.suits(record, failed_at)
    clocks.brings(record, 500, 6)
    assert not clocks.suits(record, failed_at), "a failure proves nothing"
    clocks.brings(record, 200, 6.5, content_type="text/html; charset=utf-8")
    assert not clocks.suits(record, failed_at), "nor does a gateway's page"
    clocks.brings(record, 401, 7)
    assert clocks.suits(record, failed_at)
    other = clocks.opened(8)
    assert clocks.suits(other, failed_at), "it was opened since"
    clocks.brings(other, 503, 9, retry_after="1")
    assert clocks.suits(other), "others may use it"
    assert not clocks.suits(other, failed_at), "its last word was a failure, too"
    assert not clocks.suits(record, NEW)


def test_g27_a_silent_connection_makes_dead_what_has_brought_nothing_since(clocks: Clocks) -> None:
    idle, busy, resting = clocks.opened(0), clocks.opened(1), clocks.opened(2)
    clocks.brings(idle, 200, 3)
    sent_at = 1010.0
    clocks.brings(busy, 502, 12)
    newer = clocks.opened(13)
    clocks.at(40)
    clocks.health.silent(sent_at)
    assert [clocks.health.is_over(r) for r in (idle, resting, busy, newer)] == [True, True, False, False]
    clocks.health.silent(1005.0)
    assert clocks.health.is_over(idle), "an earlier silence takes nothing back"


def test_g27_ages_count_from_the_opening_and_from_the_last_rest(clocks: Clocks) -> None:
    record = clocks.opened(0)
    for at in range(50, 300, 50):
        assert not clocks.health.is_over(record)
        clocks.brings(record, 200, at)
    clocks.at(299.9)
    assert not clocks.health.is_over(record)
    clocks.at(300)
    assert clocks.health.is_over(record), "five minutes old"
    other = clocks.opened(400)
    clocks.at(459.9)
    assert not clocks.health.is_over(other)
    clocks.at(460)
    assert clocks.health.is_over(other), "idle for a minute"


def test_g27_the_sleep_of_a_machine_counts_as_idle_time(clocks: Clocks) -> None:
    record = clocks.opened(0)
    clocks.slept = 60.0
    assert clocks.health.is_over(record)


def test_g27_what_was_retired_is_used_no_more(clocks: Clocks) -> None:
    record = clocks.opened(0)
    clocks.at(1)
    clocks.health.retire()
    clocks.brings(record, 200, 2)
    assert clocks.health.is_over(record)
    assert not clocks.health.is_over(clocks.opened(3))
