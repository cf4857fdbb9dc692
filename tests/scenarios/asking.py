"""Asking for tokens and using them: single flight, refresh, 401, API retries."""

from __future__ import annotations

from typing import Any

from tests.support.private import state_of

from . import World, error_of, scenario


@scenario()
def g16_thousand_calls_on_a_cold_key_make_one_request(w: World) -> None:
    agent = w.pool().agent("col_one")
    tasks = [w.spawn(agent.token) for _ in range(300 if w.kind == "threads" else 1000)]
    assert len({task.result() for task in tasks}) == 1
    assert len(w.token_requests()) == 1


@scenario()
def g16_a_failure_is_shared_by_all_and_cached_for_nobody(w: World) -> None:
    from colony_pool import ColonyServerError

    w.colony.behave("status", status=500)
    w.colony.latency(2.0)
    pool = w.pool()
    agent = pool.agent("col_one")
    tasks = [w.spawn(agent.token) for _ in range(50)]
    w.until(lambda: pool.status().waiters == 50, "all are there before the answer is")
    w.colony.latency(0.0)
    errors = [task.join().error for task in tasks]
    assert {type(error) for error in errors} == {ColonyServerError}
    assert len({id(error) for error in errors}) == 50, "each caller has an exception of its own"
    assert len(w.token_requests()) == 1
    w.colony.behave("healthy")
    assert agent.token()


@scenario()
def same_key_same_handle_and_each_agent_its_own_token(w: World) -> None:
    from tests.support.private import subject

    pool = w.pool()
    assert pool.agent("col_a") is pool.agent("col_a")
    keys = [f"col_{i}" for i in range(40)]
    tasks = [w.spawn(lambda k=key: pool.agent(k).get("/users/me").json()) for key in keys]
    for key, task in zip(keys, tasks, strict=True):
        assert set(task.result().values()) == {subject(key), "/api/v1/users/me"}


@scenario()
def g19_401_invalidates_only_the_rejected_token_then_one_refresh_one_replay(w: World) -> None:
    pool = w.pool()
    agent, other = pool.agent("col_a"), pool.agent("col_b")
    assert agent.get("/users/me").status == 200, "a token that works, else a 401 may mean that it is not known yet"
    old, kept = agent.token(), other.token()
    w.colony.revoke_tokens()
    answers = [task.result() for task in [w.spawn(agent.get, "/users/me") for _ in range(20)]]
    assert {a.status for a in answers} == {200}
    assert agent.token() != old
    assert other.token() == kept, "nobody else's token was dropped"
    assert len(w.token_requests()) == 3, "one refresh for twenty 401s"


@scenario()
def g25_only_what_may_be_repeated_is_repeated(w: World) -> None:
    from colony_pool import ColonyServerError, RetryConfig

    agent = w.pool(retry=RetryConfig(base_delay=0.01)).agent("col_a")
    agent.token()
    w.colony.behave("status", status=502, only="/thing")
    for method, sent in (("GET", 3), ("HEAD", 3), ("POST", 3), ("PUT", 3), ("PATCH", 1), ("DELETE", 1)):
        before = w.colony.count("/thing")
        assert type(error_of(agent.request, method, "/thing")) is ColonyServerError, method
        rows = [r for r in w.colony.requests() if r.path.endswith("/thing")][before:]
        assert len(rows) == sent, method
        keys = {r.idempotency_key for r in rows}
        assert len(keys) == 1
        assert (None in keys) == (method not in ("POST", "PUT")), "the pool adds an Idempotency-Key to POST and PUT"


@scenario()
def g25_a_header_is_the_same_however_it_is_written(w: World) -> None:
    """A caller's takes the place of the pool's; and a key where the server does not look for one changes nothing."""
    from colony_pool import ColonyServerError, RetryConfig
    from tests.support.private import prepare

    agent = w.pool(retry=RetryConfig(base_delay=0.01)).agent("col_a")
    agent.token()
    w.colony.behave("status", status=502, only="/thing")
    for method, name, sent in (
        ("POST", "idempotency-key", 3),
        ("PUT", "IDEMPOTENCY-KEY", 3),
        ("DELETE", "Idempotency-Key", 1),
    ):
        before = w.colony.count("/thing")
        assert type(error_of(agent.request, method, "/thing", headers={name: "mine"})) is ColonyServerError
        rows = [r for r in w.colony.requests() if r.path.endswith("/thing")][before:]
        assert ["mine"] * sent == [r.idempotency_key for r in rows], method
    names = ("accept", "content-type", "user-agent", "accept-encoding", "idempotency-key")
    call = prepare("POST", "/thing", json={}, headers=dict.fromkeys(names, "mine"))
    assert call.headers == dict.fromkeys(map(str.title, names), "mine")


@scenario()
def g25_a_deed_that_may_have_been_done_is_not_done_again(w: World) -> None:
    """The connection breaks after the request was read; and when it could not be sent at all, it is sent again."""
    from colony_pool import ColonyNetworkError, RetryConfig

    retry = RetryConfig(base_delay=0.01, max_delay=0.05, max_retries=2, retry_network_errors=True)
    agent = w.pool(retry=retry).agent("col_a")
    agent.token()
    w.colony.behave("reset", only="/thing")
    for method, most in (("GET", 4), ("POST", 4), ("PUT", 4), ("PATCH", 1), ("DELETE", 1)):
        before = len(w.colony.requests())
        agent.get("/users/me")  # so that there is an idle connection, which may be dead
        assert type(error_of(agent.request, method, "/thing", json={"a": 1})) is ColonyNetworkError
        rows = [r for r in w.colony.requests()[before:] if r.path.endswith("/thing")]
        assert len(rows) == 1 if most == 1 else 3 <= len(rows) <= most, method
        assert len({r.idempotency_key for r in rows}) == 1, "one key for one deed"
    w.colony.stop_listening()
    patient = RetryConfig(base_delay=0.05, max_delay=0.05, max_retries=100, retry_network_errors=True)
    other = w.pool(retry=patient).agent("col_b")
    mine, known = state_of(other), state_of(agent)
    mine.account.token, mine.jwt, mine.fresh_until = known.account.token, known.jwt, known.fresh_until
    call = w.spawn(other.delete, "/users/me")
    w.pause(0.2)
    w.colony.start_listening()
    assert call.result().status == 200, "nothing had been sent: it may be tried again"


@scenario()
def api_errors_have_the_sdks_classes(w: World) -> None:
    import colony_pool as cp

    agent = w.pool(retry=cp.RetryConfig(max_retries=0)).agent("col_a")
    cases: dict[int, type[cp.ColonyAPIError]] = {400: cp.ColonyValidationError, 403: cp.ColonyAuthError}
    cases |= {404: cp.ColonyNotFoundError}
    cases |= {409: cp.ColonyConflictError, 422: cp.ColonyValidationError, 429: cp.ColonyRateLimitError}
    cases |= {500: cp.ColonyServerError, 418: cp.ColonyAPIError}
    for status, kind in cases.items():
        error: Any = error_of(agent.get, f"/status/{status}")
        assert (type(error), error.status, error.code) == (kind, status, "AS_ASKED")


@scenario()
def the_aggressive_schedule_never_leaks_to_other_endpoints(w: World) -> None:
    from colony_pool import ColonyServerError

    agent = w.pool().agent("col_a")
    w.colony.behave("status", status=500, only="/thing")
    assert type(error_of(agent.get, "/thing")) is ColonyServerError
    assert w.colony.count("/thing") == 1, "500 is not retried"


@scenario()
def idle_connections_closed_by_the_server_are_no_failure(w: World) -> None:
    pool = w.pool()
    for i in range(5):
        assert pool.agent(f"col_{i}").token()
        assert pool.agent(f"col_{i}").get("/users/me").status == 200
        w.colony.close_idle()
    assert pool.status().breaker.failures == 0
