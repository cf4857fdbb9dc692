"""Something else answers in the API's place: a firewall, a proxy, a deploy, a wrong address (G7, G11, G14).

Policy in virtual time, through the public API.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from colony_pool import ColonyAPIError, ColonyNotFoundError, ColonyPool, ColonyServerError
from colony_pool.testing import FakeColony, SimRuntime

PAGE = "<html><head><title>Attention Required! | Cloudflare</title></head><body>blocked</body></html>"
ADVICE = "if this address never gave a token, check base_url"
HTML = {"Content-Type": "text/html"}


def refused_everywhere(
    colony: FakeColony, status: int = 403, body: str = PAGE, headers: dict[str, str] | None = None
) -> None:
    colony.behave("status", status=status, body=body, headers={**HTML, **(headers or {})}, only="/auth/token")


def played(colony: FakeColony, life: Callable[[SimRuntime, ColonyPool], Any], until: float, **options: Any) -> Any:
    """What ``life`` returns in virtual time."""
    sim = SimRuntime(seed=1)
    with ColonyPool(colony.base_url, runtime=sim, token_cache=None, registry=None, **options) as pool:
        task = sim.task(lambda: life(sim, pool))
        sim.run(until=until)
        return task.result()


def every_half_minute(sim: SimRuntime, pool: ColonyPool) -> tuple[float, list[str]]:
    """Ask until there is a token: when, and what was told before."""
    reported = []
    while True:
        try:
            pool.agent("col_one").token(max_wait=20.0)
        except ColonyAPIError as error:
            reported.append(f"{type(error).__name__}: {error}")
        else:
            return sim.monotonic(), reported
        sim.sleep(30.0)


@pytest.mark.parametrize(
    ("status", "body"), [(403, PAGE), (404, PAGE), (405, ""), (401, '{"message": "no"}'), (400, "no"), (451, PAGE)]
)
def test_g11_g14_a_gateways_page_is_an_outage_and_refuses_no_key(status: int, body: str) -> None:
    with FakeColony() as colony:
        refused_everywhere(colony, status, body)

        def life(sim: SimRuntime, pool: ColonyPool) -> tuple[float, list[str]]:
            sim.call_later(2000.0, lambda: colony.behave("healthy"))
            back, reported = every_half_minute(sim, pool)
            assert pool.status().denied == 0
            return back, reported

        back, reported = played(colony, life, 4000.0)
    assert back <= 2000.0 + 60.0, "as soon as from a 502"
    assert all(words.startswith(("ColonyServerError", "CircuitOpenError")) for words in reported)
    assert all("not The Colony's answer" in words and "key is fine" in words for words in reported)


def test_g7_g8_a_gateways_404_after_502_ends_no_outage() -> None:
    with FakeColony() as colony:

        def life(sim: SimRuntime, pool: ColonyPool) -> list[Any]:
            tasks = [sim.task(pool.agent(f"col_{i}").token) for i in range(20)]
            sim.sleep(5.0)
            assert pool.breaker.current_state == "open"
            refused_everywhere(colony, 404)
            sim.sleep(60.0)
            assert pool.breaker.current_state == "open"
            assert not any(task.done for task in tasks), "nobody was sent away"
            colony.behave("healthy")
            sim.sleep(120.0)
            return [task.result() for task in tasks]

        colony.behave("status", status=502, html=True, only="/auth/token")
        assert len(set(played(colony, life, 400.0, max_wait=3600.0))) == 20


@pytest.mark.parametrize(("after", "waits"), [("70", 70.0), ("86400", 900.0)])
def test_g6_a_gateways_retry_after_postpones_the_next_attempt(after: str, waits: float) -> None:
    with FakeColony() as colony:
        refused_everywhere(colony, headers={"Retry-After": after})

        def life(sim: SimRuntime, pool: ColonyPool) -> float:
            pool.breaker.open()
            started = sim.monotonic()
            sim.task(lambda: pool.agent("col_one").token(max_wait=3600.0))
            sim.sleep(3.0)
            first = colony.count("/auth/token")
            assert first == 1
            while colony.count("/auth/token") == first:
                sim.sleep(1.0)
            return sim.monotonic() - started

        assert waits <= played(colony, life, 4000.0) <= waits + 5.0

        def alone(sim: SimRuntime, pool: ColonyPool) -> int:
            sim.task(lambda: pool.agent("col_one").token(max_wait=3600.0))
            before = colony.count("/auth/token")
            sim.sleep(waits - 1.0)
            return colony.count("/auth/token") - before

        assert played(colony, alone, 4000.0) == 1, "the breaker is closed: the flight's own backoff heeds it, too"


@pytest.mark.parametrize(
    ("behaviour", "options", "words"),
    [
        ("redirect", {"status": 308, "location": "https://u:pw@login.corp.example/sso?k=pw"},
         ("HTTP 308", "https://login.corp.example/sso?...")),
        ("html", {}, ("HTTP 200", "text/html")),
        ("status", {"status": 403, "body": PAGE, "headers": HTML}, ("HTTP 403", "an HTML page", "text/html")),
        ("status", {"status": 502, "body": PAGE, "headers": HTML}, ("HTTP 502", "an HTML page", "text/html")),
    ],
)  # fmt: skip
def test_g11_a_wrong_address_is_told_as_one_while_it_never_gave_a_token(
    behaviour: str, options: dict[str, Any], words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "colony_pool")

    def life(sim: SimRuntime, pool: ColonyPool) -> str:
        colony.behave(behaviour, only="/auth/token", **options)
        with pytest.raises(ColonyServerError) as caught:
            pool.agent("col_one").token()
        first, status = caplog.records[0].getMessage(), pool.status()
        for reported in (str(caught.value), first, status.last_failure):
            assert all(word in reported for word in (*words, ADVICE)), reported
            assert "pw" not in reported
        pool.breaker.open()
        sim.task(lambda: pool.agent("col_two").token(max_wait=600.0))
        sim.sleep(10.0)
        assert ADVICE in pool.status().last_failure
        colony.behave("healthy")
        sim.sleep(60.0)
        assert pool.status().last_failure == ""
        colony.behave(behaviour, only="/auth/token", **options)
        caplog.clear()
        with pytest.raises(ColonyServerError) as caught:
            pool.agent("col_three").token()
        return f"{caught.value} {pool.status().last_failure} {caplog.text}"

    with FakeColony() as colony:
        assert ADVICE not in played(colony, life, 1000.0)


@pytest.mark.parametrize("status", [404, 405])
def test_g11_only_the_apis_own_404_ends_a_call_at_once(status: int) -> None:
    def life(sim: SimRuntime, pool: ColonyPool) -> str:
        with pytest.raises(ColonyAPIError) as caught:
            pool.agent("col_one").token()
        assert sim.monotonic() < 1.0
        assert status == caught.value.status
        assert not isinstance(caught.value, ColonyServerError)
        return str(caught.value)

    with FakeColony() as colony:
        colony.behave("status", status=status, only="/auth/token")
        assert "check base_url" in played(colony, life, 10.0)


def test_g23_a_gateway_that_echoes_the_key_puts_it_into_no_error(caplog: pytest.LogCaptureFixture) -> None:
    key = "col_seKret/+x"
    caplog.set_level(logging.DEBUG, "colony_pool")

    def life(sim: SimRuntime, pool: ColonyPool) -> str:
        with pytest.raises(ColonyServerError) as caught:
            pool.agent(key).token()
        return f"{caught.value!r} {caught.value.response} {pool.status()} {caplog.text}"

    with FakeColony() as colony:
        for echoed in (key, key.upper(), "col_seKret%2F%2Bx", "col%255FseKret%252F%252Bx"):
            refused_everywhere(colony, 403, key, {"Location": f"https://host/{echoed}", "Content-Type": key})
            reported = played(colony, life, 1000.0)
            assert "sekret" not in reported.lower()
            assert "***" in reported


def test_g11_an_api_calls_404_keeps_its_class_and_says_what_came() -> None:
    def life(sim: SimRuntime, pool: ColonyPool) -> None:
        agent = pool.agent("col_one")
        colony.behave("status", status=404, html=True, only="/users/me")
        with pytest.raises(ColonyNotFoundError, match="HTTP 404, an HTML page, not The Colony's answer"):
            agent.get("/users/me")

    with FakeColony() as colony:
        played(colony, life, 10.0)
