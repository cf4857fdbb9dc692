"""How long a token is used, and how often the server is asked for another because one has ended (G17, G20).

In virtual time, through the public API. The server issues what a test says; what the pool made of its life is read
from the cache on disk, and from when it asks again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from colony_pool import ColonyPool, ColonyServerError
from colony_pool.testing import SimRuntime
from colony_pool.types import CancelToken, RawResponse
from tests.support.virtual import VirtualTransport

HOUR = 3600.0
NOTHING = object()


def jwt(**claims: object) -> str:
    """A JWT that nobody has signed."""
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


class Issuer(VirtualTransport):
    """Answers each request for a token as ``answer`` says, after 50 ms."""

    def __init__(self, sim: SimRuntime, answer: Callable[[float], tuple[dict[str, str], dict[str, Any]]]) -> None:
        super().__init__()
        self.sim, self.answer, self.asked = sim, answer, list[float]()

    def token(self, fields: dict[str, str], total: float, cancel: CancelToken) -> RawResponse:
        self.asked.append(self.sim.monotonic())
        self.sim.sleep(0.05)
        headers, fields_of_answer = self.answer(self.sim.now())
        return RawResponse(200, headers, json.dumps(fields_of_answer).encode())

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.asked, self.asked[1:], strict=False)]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLONY_SDK_TOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("COLONY_SDK_NO_TOKEN_CACHE", raising=False)
    return tmp_path


def lives(disk: Path, answer: Callable[[float], tuple[dict[str, str], dict[str, Any]]]) -> float | str:
    """Seconds that a token lives by its file on disk; or what its caller is told."""
    sim = SimRuntime(seed=1)
    pool = ColonyPool("http://127.0.0.1:1", runtime=sim, registry=None, transport=Issuer(sim, answer))
    task = sim.task(lambda: pool.agent("col_a").token(max_wait=0))
    sim.run(until=5.0)
    sim.task(pool.close)
    sim.run(until=10.0)
    if task.error is not None:
        return str(task.error)
    (file,) = disk.glob("*.json")
    return float(json.loads(file.read_text())["expiry"]) - sim.now() + sim.monotonic() - 0.05


def said(expires_in: object, token: Callable[[float], str], **headers: Callable[[float], str]) -> Any:
    """An answer with this ``expires_in``, token and headers, each made when it is sent."""

    def answer(wall: float) -> tuple[dict[str, str], dict[str, Any]]:
        fields = {"access_token": token(wall)} | ({} if expires_in is NOTHING else {"expires_in": expires_in})
        return {name: make(wall) for name, make in headers.items()}, fields

    return answer


def opaque(wall: float) -> str:
    return "opaque"


def of_an_hour(wall: float) -> str:
    return jwt(exp=wall + HOUR)


@pytest.mark.parametrize(
    ("expires_in", "token", "life"),
    [
        (1800, of_an_hour, 1800.0),
        (86_400, of_an_hour, HOUR),
        ("1800", of_an_hour, 1800.0),
        (" 1800.5 ", opaque, 1800.5),
        ("1800", opaque, 1800.0),
        (NOTHING, of_an_hour, HOUR),
        (None, of_an_hour, HOUR),
        (0, of_an_hour, HOUR),
        (-1, of_an_hour, HOUR),
        ("0", of_an_hour, HOUR),
        (3_600_000, of_an_hour, HOUR),
        (1e12, of_an_hour, HOUR),
        (1e308, of_an_hour, HOUR),
        (2**31, of_an_hour, HOUR),
        (True, of_an_hour, HOUR),
        ([], of_an_hour, HOUR),
        ("1800s", of_an_hour, HOUR),
        ("never", opaque, 86_400.0),
        (NOTHING, opaque, 86_400.0),
        (86_400, lambda wall: jwt(exp=str(int(wall + HOUR))), HOUR),
        (NOTHING, lambda wall: jwt(exp=(wall + HOUR) * 1000.0), HOUR),
        (1800, lambda wall: jwt(exp="2030-01-01T00:00:00Z"), 1800.0),
        (1800, lambda wall: jwt(exp=wall + 100 * 365 * 86_400.0), 1800.0),
        (NOTHING, lambda wall: jwt(exp=wall + 100 * 365 * 86_400.0), 86_400.0),
    ],
)
def test_g17_a_token_ends_at_the_earliest_of_what_its_answer_says_on_disk_too(
    expires_in: object, token: Callable[[float], str], life: float, disk: Path
) -> None:
    assert life == pytest.approx(lives(disk, said(expires_in, token)), abs=1.0)


@pytest.mark.parametrize(
    "answer",
    [
        said(0, opaque),
        said(-5, opaque),
        said(NOTHING, lambda wall: jwt(exp=wall - 1.0)),
        said(0, lambda wall: jwt(exp=wall - 1.0)),
        said(3600, lambda wall: jwt(exp=wall - 1.0), date=lambda wall: formatdate(wall, usegmt=True)),
    ],
)
def test_g11_a_token_that_has_ended_is_no_token(answer: Any, disk: Path) -> None:
    assert "its token has expired already" in str(lives(disk, answer))


@pytest.mark.parametrize("hours", [-2.0, 2.0, 1.0, 48.0])
@pytest.mark.parametrize("says", ["Date", "expires_in", "both"])
def test_g20_a_clock_that_is_hours_off_changes_no_life(hours: float, says: str, disk: Path) -> None:
    """By the server's clock, its ``Date``; or else by ``expires_in``."""

    def at_the_server(wall: float) -> float:
        return wall - hours * HOUR

    answer = said(
        NOTHING if says == "Date" else int(HOUR),
        lambda wall: jwt(exp=int(at_the_server(wall) + HOUR)),
        **({} if says == "expires_in" else {"date": lambda wall: formatdate(at_the_server(wall), usegmt=True)}),
    )
    assert pytest.approx(lives(disk, answer), abs=1.5) == HOUR


@pytest.mark.parametrize("hours", [2.0, 48.0])
def test_g20_a_gateway_whose_clock_is_ahead_of_the_issuers_ends_no_token(hours: float, disk: Path) -> None:
    date = {"date": lambda wall: formatdate(wall + hours * HOUR, usegmt=True)}
    assert pytest.approx(lives(disk, said(1800, of_an_hour, **date)), abs=1.5) == 1800.0


# -- how often the server is asked -------------------------------------------------------------------------------


def asks(
    answer: Any, *, seconds: float = 600.0, every: float = 1.0, max_wait: float | None = None
) -> tuple[Any, Any]:
    """One agent asks for its token each second; the issuer, and ``(waited, error)`` of each call."""
    sim = SimRuntime(seed=1)
    issuer = Issuer(sim, answer)
    pool = ColonyPool("http://127.0.0.1:1", runtime=sim, token_cache=None, registry=None, transport=issuer)
    calls: list[tuple[float, Exception | None]] = []

    def live() -> None:
        while sim.monotonic() < seconds:
            began = sim.monotonic()
            error = None
            try:
                pool.agent("col_a").token(max_wait=max_wait)
            except Exception as problem:
                error = problem
            calls.append((sim.monotonic() - began, error))
            sim.sleep(every)

    sim.task(live)
    sim.run(until=seconds + 200.0)
    sim.task(pool.close)
    sim.run(until=seconds + 201.0)
    return issuer, calls


@pytest.mark.parametrize(
    "answer",
    [
        said(3, lambda wall: jwt(exp=wall + 3.0)),
        said(0.5, opaque),
        said(86_400, lambda wall: jwt(exp=wall + 3.0)),
        said(24, lambda wall: jwt(exp=wall + 86_400.0)),
    ],
    ids=["3 s", "half a second", "3 s by its exp", "hours instead of seconds"],
)
def test_g17_exchanges_since_a_token_ended_too_soon_lie_apart_more_and_more(answer: Any) -> None:
    issuer, calls = asks(answer)
    expected = [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert all(pause >= least for pause, least in zip(issuer.pauses, expected, strict=False))
    assert all(pause >= 60.0 for pause in issuer.pauses[4:])
    assert len(issuer.asked) <= 16
    assert {error for _, error in calls} == {None}, "callers wait for it, within their patience"


def test_g17_who_cannot_wait_for_that_is_told_in_plain_words() -> None:
    issuer, calls = asks(said(3, opaque), max_wait=1.0)
    failures = [(waited, str(error)) for waited, error in calls if error is not None]
    assert {type(error) for _, error in calls} == {type(None), ColonyServerError}
    assert all(
        "was to live for 3 s only, and has ended; the next one is asked for in" in words for _, words in failures
    )
    assert all("the API key is fine" in words for _, words in failures)
    assert max(waited for waited, _ in failures) == 0.0, "at once: nothing can come sooner"
    assert len(issuer.asked) <= 16


@pytest.mark.parametrize("life", [6, 10, 30, 60, 90])
def test_g17_a_token_that_is_short_lived_by_design_works_smoothly(life: int) -> None:
    issuer, calls = asks(said(life, lambda wall: jwt(exp=wall + life)))
    assert {error for _, error in calls} == {None}
    assert max(waited for waited, _ in calls) < 0.2
    assert min(issuer.pauses) >= 5.0
    assert len(issuer.asked) <= 600 / (0.6 * life) + 2


def test_g17_a_server_that_gives_lasting_tokens_again_is_not_held_against() -> None:
    """A few that ended at once, then tokens of half a minute: the pauses begin anew."""
    given = iter([2] * 4)
    issuer, calls = asks(lambda wall: ({}, {"access_token": "t", "expires_in": next(given, 30)}))
    late = [waited for waited, _ in calls[-300:]]
    assert max(late) < 0.2
    assert max(issuer.pauses[-10:]) <= 31.0


def test_g19_an_invalidation_does_not_wait_for_the_pause() -> None:
    sim = SimRuntime(seed=1)
    issuer = Issuer(sim, said(3, opaque))
    pool = ColonyPool("http://127.0.0.1:1", runtime=sim, token_cache=None, registry=None, transport=issuer)
    waited: list[float] = []

    def live() -> None:
        for _ in range(5):
            began = sim.monotonic()
            pool.agent("col_a").token()
            waited.append(sim.monotonic() - began)
            pool.agent("col_a").invalidate()
        pool.close()

    sim.task(live)
    sim.run(until=60.0)
    assert (5, True) == (len(issuer.asked), max(waited) < 0.1)
