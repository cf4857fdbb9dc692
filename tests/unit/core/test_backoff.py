"""Delays, and the dates of HTTP (G6, G13)."""

from __future__ import annotations

import time

import pytest

from tests.support.private import http_date, jittered


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


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Tue, 22 Sep 2026 00:00:00 GMT", 1_790_035_200.0),
        ("Tuesday, 22-Sep-26 00:00:00 GMT", 1_790_035_200.0),
        ("Tue Sep 22 00:00:00 2026", 1_790_035_200.0),
        ("Wed Sep  2 00:00:00 2026", 1_788_307_200.0),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799.0),
    ],
)
def test_g13_the_three_forms_of_a_date_are_read(text: str, moment: float) -> None:
    assert moment == http_date(text) == http_date(f" {text} ")


@pytest.mark.parametrize(
    "text",
    [
        None, "", "soon", "Tue, 99 Sep 2026 00:00:00 GMT", "Tue, 22 Xyz 2026 00:00:00 GMT", "2026-09-22T00:00:00Z",
        "Tue, \u0662\u0662 Sep 2026 00:00:00 GMT", "22 Sep 2026 00:00:00 GMT",
        "Tue, 22 Sep 2026 00:00:00 GMT and more",
    ],
)  # fmt: skip
def test_g13_what_is_no_date_is_none(text: str | None) -> None:
    assert http_date(text) is None
