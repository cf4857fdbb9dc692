"""Delays: what a server may ask for, and how it is read (G6, G13)."""

from __future__ import annotations

import time

import pytest

from colony_pool._core.backoff import http_date, jittered, rate_limit, retry_after

YEARS = 10 * 365 * 86_400.0
WALL = 1_790_000_000.0


@pytest.mark.parametrize(("rand", "delay"), [(0.0, 10.0), (0.5, 9.0), (1.0, 8.0)])
def test_g6_jitter_takes_up_to_its_share_off(rand: float, delay: float) -> None:
    assert delay == jittered(10.0, 0.2, rand)


@pytest.mark.parametrize(
    "text",
    ["Tue, 22 Sep 2026 00:00:00 GMT", "Tue, 22 Sep 2026 00:00:00 -0000", "Tue, 22 Sep 2026 02:00:00 +0200"],
)
def test_g13_a_date_means_the_same_moment_in_every_zone(text: str) -> None:
    assert http_date(text) == 1_790_035_200.0


def test_g13_a_date_without_a_zone_is_no_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "XYZ-9")
        time.tzset()
        read = http_date("Tue, 22 Sep 2026 00:00:00 -0000")
    time.tzset()
    assert read == 1_790_035_200.0


@pytest.mark.parametrize("text", [None, "", "soon", "Tue, 99 Sep 2026 00:00:00 GMT"])
def test_g13_what_is_no_date_is_none(text: str | None) -> None:
    assert http_date(text) is None


def test_g13_no_server_may_ask_for_more_than_ten_years() -> None:
    assert retry_after({"retry-after": "9" * 15}, WALL) == YEARS
    assert retry_after({"retry-after": "Fri, 31 Dec 9999 00:00:00 GMT"}, WALL) == YEARS
    assert rate_limit({"x-ratelimit-reset": "9" * 15}, WALL) == (None, YEARS)
    assert retry_after({"retry-after": " 2.5 "}, WALL) == 2.5


@pytest.mark.parametrize(
    ("left", "remaining"),
    [(" 7 ", 7), ("0", 0), ("9" * 15, int("9" * 15)), ("9" * 16, None), ("", None), ("-1", None), ("\u0667", None)],
)
def test_g13_what_remains_is_a_number_or_not_told(left: str, remaining: int | None) -> None:
    assert (remaining, None) == rate_limit({"x-ratelimit-remaining": left}, WALL)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("999999999", YEARS),
        ("1000000000", 0.0),
        (str(int(WALL) + 30), 30.0),
        (str(int(WALL) - 30), 0.0),
        ("30", 30.0),
    ],
)
def test_g13_a_large_reset_is_a_moment_and_a_small_one_is_a_delay(reset: str, seconds: float) -> None:
    assert (None, seconds) == rate_limit({"x-ratelimit-reset": reset}, WALL)


@pytest.mark.parametrize("name", ["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"])
def test_g13_a_header_that_is_missing_says_nothing(name: str) -> None:
    headers = dict.fromkeys({"retry-after", "x-ratelimit-reset", "x-ratelimit-remaining"} - {name}, "5")
    after, (remaining, reset) = retry_after(headers, WALL), rate_limit(headers, WALL)
    told = {"retry-after": after, "x-ratelimit-reset": reset, "x-ratelimit-remaining": remaining}
    assert {name: None} == {key: value for key, value in told.items() if value is None}
