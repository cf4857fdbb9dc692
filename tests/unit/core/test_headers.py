"""What the headers of an answer say about time: one parser for tokens and for API calls (G13)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.private import Limit, LimitHeaders, tells_time
from tests.support.private import read_headers as read

WALL = 1_790_000_000.0
TEN_YEARS = 315_360_000.0
DATE = "Mon, 21 Sep 2026 14:13:20 GMT"  # WALL
IN_30 = "Mon, 21 Sep 2026 14:13:50 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("7", 7.0), ("7.5", 7.5), (" 7 ", 7.0), ("007", 7.0), ("31536000", 31_536_000.0),
        (str(int(WALL) + 30), 30.0), (f"{int(WALL) + 30}.1234567", 30.1234567), (str(int(WALL) - 30), 0.0),
        (str(int(WALL) * 1000 + 30_000), 30.0), (str(int(WALL) * 1000 - 30_000), 0.0),
        (str(int(WALL + TEN_YEARS)), TEN_YEARS), (str(int(WALL - TEN_YEARS)), 0.0),
        (IN_30, 30.0), ("Monday, 21-Sep-26 14:13:50 GMT", 30.0), ("Mon Sep 21 14:13:50 2026", 30.0), (DATE, 0.0),
        ("60, 60", 60.0), ("60,60", 60.0), ("60, 90, 30", 90.0), (f"{IN_30}, {IN_30}", 30.0), (f"7, {IN_30}", 30.0),
        ("60, soon", 60.0), (", 60", 60.0), ("60, -5", 60.0),
    ],
)  # fmt: skip
def test_g13_seconds_dates_unix_seconds_and_milliseconds_are_told_apart(text: str, seconds: float) -> None:
    for name in ("retry-after", "x-retry-after", "x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset"):
        assert read({name: text}, WALL).pause == pytest.approx(seconds), name
    assert read({"x-ratelimit-reset-after": text}, WALL).pause == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ",", "soon", "-5", "+5", "1e3", "0x10", "nan", "NaN", "inf", "-inf", "Infinity", "1_000", "6m0s",
        "60s", "120junk", ".5", "5.", "\u0663\u0660", "\uff13\uff10", "31536001", "999999999", "1000000000", "9" * 16,
        "9" * 10_000, "0" * 10_000, "2026-09-21T14:13:50Z", "Sun, 01 Jan 2040 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "1790000030000000", "\x00", "60;w=1",
    ],
)  # fmt: skip
def test_g13_anything_else_has_said_nothing(text: str) -> None:
    for name in ("retry-after", "x-ratelimit-reset", "ratelimit-reset", "ratelimit"):
        parsed = read({name: text}, WALL)
        assert (None, None) == (parsed.pause, parsed.exhausted_for), name
    if not text.isascii() or not text.isdigit():
        assert read({"retry-after-ms": text}, WALL) == LimitHeaders()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30000", 30.0), ("250", 0.25), ("0", 0.0), ("31536000000", 31_536_000.0),
        (str(int(WALL) * 1000 + 30_000), 30.0), ("30000, 60000", 60.0),
    ],
)  # fmt: skip
def test_g13_milliseconds_are_milliseconds(text: str, seconds: float) -> None:
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        assert read({name: text}, WALL).pause == seconds


def test_g13_now_is_the_answers_own_date() -> None:
    """The clock of this host may be wrong by hours, or was never set."""
    for wall in (WALL, WALL - 7200.0, WALL + 7200.0, 0.0, 4e9):
        for text in (IN_30, str(int(WALL) + 30), str(int(WALL) * 1000 + 30_000)):
            assert read({"retry-after": text, "date": DATE}, wall).pause == 30.0
    for date in ("", "soon", "Thu, 01 Jan 1970 00:00:10 GMT", "Sun, 01 Jan 2099 00:00:00 GMT"):
        assert read({"retry-after": str(int(WALL) + 30), "date": date}, WALL).pause == 30.0
    assert read({"retry-after": IN_30, "date": f"{DATE}, {DATE}"}, WALL - 7200.0).pause == 30.0
    assert read({"retry-after": str(int(WALL) + 30)}, 12.0).pause is None, "a clock that was never set"


@pytest.mark.parametrize(
    ("text", "remaining"),
    [
        (" 7 ", 7), ("0", 0), ("0.0", 0), ("0.7", 0), ("7.0", 7), ("9" * 15, int("9" * 15)), ("5, 3", 3),
        ("5, -1", 5), ("9" * 17, None), ("", None), ("-1", None), ("\u0667", None), ("unlimited", None),
        ("1e0", None),
    ],
)  # fmt: skip
def test_g13_what_remains_is_a_number_or_not_told(text: str, remaining: int | None) -> None:
    for family in ("x-ratelimit-", "ratelimit-", "x-rate-limit-"):
        parsed = read({f"{family}remaining": text, f"{family}reset": "30"}, WALL)
        assert (Limit(remaining, 30.0),) == parsed.limits
        assert (remaining == 0) == parsed.exhausted
        assert parsed.exhausted_for == (30.0 if remaining == 0 else None)
        assert parsed.left == ((remaining, 30.0) if remaining else None)


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({"ratelimit": '"default";r=50;t=30'}, [Limit(50, 30.0)]),
        ({"ratelimit": '"default"; r=0; t=30'}, [Limit(0, 30.0)]),
        ({"ratelimit": "default;r=0;t=30"}, [Limit(0, 30.0)]),
        ({"ratelimit": '"a";r=0;t=5, "b";r=7;t=3600'}, [Limit(0, 5.0), Limit(7, 3600.0)]),
        ({"ratelimit": '"a,b;r=9";r=0;t=5'}, [Limit(0, 5.0)]),
        ({"ratelimit": '"a";T=5;R=0;pk=:cGs=:'}, [Limit(0, 5.0)]),
        ({"ratelimit": "limit=100, remaining=0, reset=5"}, [Limit(0, 5.0)]),
        ({"ratelimit": "limit=100;w=60, remaining=50, reset=30"}, [Limit(50, 30.0)]),
        ({"ratelimit": "remaining=0;reset=5"}, [Limit(0, 5.0)]),
        ({"ratelimit": '"a";r=0'}, [Limit(0, None)]),
        ({"ratelimit": '"a";r=0', "ratelimit-policy": '"b";q=1;w=9, "a";q=100;w=60'}, [Limit(0, 60.0)]),
        ({"ratelimit": '"a";r=0;t=x', "ratelimit-policy": '"a";q=100;w=60'}, [Limit(0, 60.0)]),
        ({"ratelimit-remaining": "0", "ratelimit-policy": "100;w=60"}, [Limit(0, 60.0)]),
        ({"ratelimit-remaining": "0", "ratelimit-policy": "10;w=1, 100;w=60"}, [Limit(0, None)]),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "7", "ratelimit-policy": "9;w=60"}, [Limit(0, 7.0)]),
        ({"ratelimit-policy": '"a";q=100;w=60'}, []),
        ({"ratelimit": '"a;r=0";t=5'}, [Limit(None, 5.0)]),
        ({"ratelimit": '"a";r="0";t="5"'}, [Limit(0, 5.0)]),
        ({"ratelimit": '"a";r=0;t=X5'}, [Limit(0, None)]),
        ({"ratelimit": '"a";r=0;t=5;t=x=9'}, [Limit(0, None)]),
        ({"ratelimit": f'"a";r=0;t={int(WALL) + 30}'}, [Limit(0, 30.0)]),
        ({"ratelimit": f"remaining=0, reset={int(WALL) + 30}"}, [Limit(0, 30.0)]),
        ({"ratelimit": "a;r=0", "ratelimit-policy": '"a";q=100;w=60'}, [Limit(0, 60.0)]),
        ({"ratelimit": '"aX";r=0', "ratelimit-policy": '"a";q=100;w=60'}, [Limit(0, None)]),
        ({"ratelimit": '"a";r=0', "ratelimit-policy": f'"a";q=100;w={int(WALL) + 30}'}, [Limit(0, None)]),
        ({"ratelimit": '"a'}, []),
        ({"ratelimit": '"a";r=-1;t=nan'}, []),
        ({"ratelimit": "=,;,=;==, ,"}, []),
        ({"ratelimit": '"a";r=0;t=30' * 1000}, []),
        ({"x-ratelimit-remaining": "0, 9", "x-ratelimit-reset": "5, 3600"}, [Limit(0, 5.0), Limit(9, 3600.0)]),
        ({"x-ratelimit-remaining": "9, 9", "x-ratelimit-reset": "3600"}, [Limit(9, 3600.0)]),
        ({"x-ratelimit-remaining": "9", "ratelimit-remaining": "0"}, [Limit(9, None), Limit(0, None)]),
    ],
)
def test_g13_every_form_of_the_rate_limit_headers_is_read(fields: dict[str, str], limits: list[Limit]) -> None:
    assert limits == list(read(fields, WALL).limits)


def test_g13_the_limit_that_is_used_up_says_for_how_long() -> None:
    parsed = LimitHeaders(None, (Limit(7, 3600.0), Limit(0, 5.0), Limit(0, None)))
    assert (True, 5.0, 5.0, None) == (parsed.exhausted, parsed.pause, parsed.exhausted_for, parsed.left)
    assert (3600.0, None) == (
        LimitHeaders(None, (Limit(7, 3600.0),)).pause,
        LimitHeaders(None, (Limit(7, 3600.0),)).exhausted_for,
    )
    assert LimitHeaders(None, (Limit(7, 3600.0), Limit(None, 9.0))).pause == 9.0
    assert LimitHeaders(None, (Limit(7, 3600.0), Limit(3, 9.0))).left == (3, 9.0)
    assert (5.0, 600.0) == (
        LimitHeaders(5.0, (Limit(0, 600.0),)).pause,
        LimitHeaders(5.0, (Limit(0, 600.0),)).exhausted_for,
    )
    assert (5.0, 5.0) == (
        LimitHeaders(5.0, (Limit(0, None),)).pause,
        LimitHeaders(5.0, (Limit(0, None),)).exhausted_for,
    )


def test_g13_a_retry_after_on_each_answer_only_repeats_when_the_count_begins_anew() -> None:
    """Middleware (Flask-Limiter, slowapi) sends it with a 200 as well: a key that is refused holds nobody."""
    usual = LimitHeaders(3600.0, (Limit(25, 3601.0),))
    assert (None, None, 3600.0) == (usual.asked, usual.exhausted_for, usual.pause)
    assert LimitHeaders(60.0, (Limit(25, 3600.0),)).asked == 60.0
    assert LimitHeaders(60.0, (Limit(25, None),)).asked == 60.0
    assert LimitHeaders(3600.0, (Limit(0, 3600.0),)).asked == 3600.0
    assert (30.0, 30.0) == (LimitHeaders(30.0).asked, LimitHeaders(30.0).exhausted_for)
    assert (None, None, None) == (LimitHeaders().asked, LimitHeaders().exhausted_for, LimitHeaders().pause)


@pytest.mark.parametrize(("length", "said"), [(1000, True), (1001, False)])
def test_g13_a_header_of_more_than_a_thousand_characters_says_nothing(length: int, said: bool) -> None:
    assert read({"retry-after": "7".rjust(length)}, WALL).pause == (7.0 if said else None)
    assert read({"ratelimit": '"a";r=0;t=5'.rjust(length)}, WALL).limits == ((Limit(0, 5.0),) if said else ())


@pytest.mark.parametrize(("wall", "seconds"), [(1e9, 30.0), (1e9 - 1.0, None)])
def test_g13_a_clock_of_before_2001_was_never_set(wall: float, seconds: float | None) -> None:
    assert seconds == read({"retry-after": "1000000030"}, wall).pause


def test_g13_of_two_headers_the_longer_time_counts() -> None:
    assert read({"retry-after": "2", "retry-after-ms": "1500"}, WALL).pause == 2.0
    assert read({"retry-after": "soon", "retry-after-ms": "1500"}, WALL).pause == 1.5


def test_g13_what_tells_time_is_joined_when_it_comes_several_times() -> None:
    names = ["retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit", "x-rate-limit-remaining"]
    assert all(map(tells_time, names))
    assert not any(map(tells_time, ["date", "content-length", "transfer-encoding", "location"]))


_NAMES = [
    "date", "retry-after", "retry-after-ms", "x-retry-after", "x-ratelimit-remaining", "x-ratelimit-reset",
    "ratelimit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset", "x-rate-limit-reset",
    "x-ratelimit-reset-after",
]  # fmt: skip
_PIECES = st.sampled_from(
    ['"', *";,=0123456789-.e \\\u0663", "r=", "t=", "w=", "9" * 20, DATE, IN_30, "1790000030", "1790000030000"]
)
VALUES = st.one_of(
    st.text(max_size=40), st.integers().map(str), st.floats().map(str), st.lists(_PIECES, max_size=12).map("".join)
)


@settings(max_examples=1000, deadline=None)
@given(st.dictionaries(st.sampled_from(_NAMES), VALUES), st.floats(-1e9, 1e11))
def test_g13_no_header_raises_and_every_time_is_sane(headers: dict[str, str], wall: float) -> None:
    parsed = read(headers, wall)
    times = [
        parsed.retry_after,
        parsed.asked,
        parsed.pause,
        parsed.exhausted_for,
        *(limit.reset for limit in parsed.limits),
    ]
    assert all(seconds is None or 0.0 <= seconds <= TEN_YEARS for seconds in times)
    assert all(limit.remaining is None or limit.remaining >= 0 for limit in parsed.limits)
