"""What an API's 401, an invalidation and a spent code do to a token."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from . import World, error_of, scenario

SECRET = "JBSWY3DPEHPK3PXP"


def _two_codes(w: World) -> tuple[str, str]:
    """Two codes that the server takes, for as long as a scenario lasts."""
    from colony_pool.testing import totp_code

    w.colony.key("col_2fa", totp_secret=SECRET)
    if time.time() % 30.0 > 25.0:
        w.pause(5.2)
    return totp_code(SECRET, time.time() - 30.0), totp_code(SECRET)


@scenario()
def g19_a_second_revocation_within_a_minute_is_recovered(w: World) -> None:
    agent = w.pool().agent("col_a")
    for asked in (1, 2, 3, 4):
        assert {task.result().status for task in [w.spawn(agent.get, "/users/me") for _ in range(10)]} == {200}
        assert len(w.token_requests()) == asked, "one refresh for all calls that were refused"
        w.colony.revoke_tokens()


@scenario()
def g19_a_token_that_never_worked_is_replaced_once_a_minute(w: World) -> None:
    """And the error names the token, not the key. That another path takes the token changes nothing."""
    from colony_pool import ColonyAuthError

    agent = w.pool().agent("col_a")
    w.colony.behave("status", status=401, only="/forbidden")
    for asked in (2, 2, 2):
        error: Any = error_of(agent.get, "/forbidden")
        assert type(error) is ColonyAuthError
        assert "The token was refused, not the API key" in error.hint
        assert len(w.token_requests()) == asked
        assert agent.get("/users/me").status == 200
    w.colony.revoke_tokens()
    assert type(error_of(agent.get, "/users/me")) is ColonyAuthError
    agent.invalidate()
    assert agent.get("/users/me").status == 200, "invalidate() always asks"


@scenario()
def g19_a_token_that_the_api_does_not_know_yet_is_not_thrown_away(w: World) -> None:
    agent = w.pool().agent("col_a")
    token = agent.token()
    w.colony.behave("status", status=401, only="/users/me")
    call = w.spawn(agent.get, "/users/me")
    w.until(lambda: w.colony.count("/users/me", status=401) > 0, "refused")
    w.colony.behave("healthy", only="/users/me")
    assert call.result().status == 200
    assert agent.token() == token
    assert len(w.token_requests()) == 1


@scenario()
def g19_an_invalidation_during_an_exchange_is_not_lost(w: World) -> None:
    pool = w.pool()
    agent = pool.agent("col_a")
    w.colony.latency(1.0)
    before = w.spawn(agent.token)
    w.until(lambda: pool.status().in_flight == 1, "asked")
    agent.invalidate()
    after = w.spawn(agent.token)
    w.colony.latency(0.0)
    assert before.result() == after.result() == agent.token()
    assert len(w.token_requests()) == 2
    agent.invalidate()
    assert agent.token() != after.value
    assert len(w.token_requests()) == 3


@scenario()
def g15_a_code_that_another_process_has_spent_waits_for_the_next_window(w: World) -> None:
    from colony_pool import ColonyTwoFactorInvalidError, PolicyConfig

    spent, fresh = _two_codes(w)
    assert w.pool().agent("col_2fa", totp=lambda: spent).token()
    codes = iter([spent, fresh, fresh])
    agent = w.pool(policy=PolicyConfig(totp_window=2.0)).agent("col_2fa", totp=lambda: next(codes))
    for _ in range(3):
        error: Any = error_of(agent.token, max_wait=0.0)
        assert type(error) is ColonyTwoFactorInvalidError
        assert "; the next code is sent in" in error.message
        assert "The API key is fine" in error.hint
    assert agent.token(max_wait=20.0)
    stats = w.colony.stats()
    assert (stats.requests, stats.codes_refused) == (3, 1)


@scenario()
def g15_a_code_is_not_sent_if_another_process_has_left_its_token(w: World) -> None:
    """The second one waits for the next window, and finds the token of the first, which was faster."""
    from colony_pool import PolicyConfig

    spent, fresh = _two_codes(w)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COLONY_SDK_TOKEN_CACHE_DIR"] = folder
        codes, is_left = iter([spent, "000000"]), w.event()

        def code() -> str:
            if (current := next(codes)) != spent:
                assert is_left.wait(30.0)
            return current

        pool = w.pool(token_cache="disk", policy=PolicyConfig(totp_window=1.0))
        second = pool.agent("col_2fa", totp=code)
        first = w.pool(token_cache="disk").agent("col_2fa", totp=lambda: fresh)
        assert w.pool().agent("col_2fa", totp=lambda: spent).token(), "the code is spent, and nobody can know"
        call = w.spawn(lambda: second.token(max_wait=60.0))
        w.until(lambda: w.colony.stats().codes_refused == 1, "refused")
        left = first.token()
        w.until(lambda: any(Path(folder).rglob("*.json")), "on disk")
        is_left.set()
        assert call.result() == left
        assert (w.colony.stats().requests, w.colony.stats().codes_refused) == (3, 1)
        for pool in w.pools:
            pool.close()
