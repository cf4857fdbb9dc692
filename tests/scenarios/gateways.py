"""API calls that something else answers in the API's place."""

from __future__ import annotations

from typing import Any

from . import World, error_of, scenario

PAGES: list[tuple[str, str, str]] = [  # body, content type, how it is called
    ("<html>blocked</html>", "text/html", "an HTML page"),
    ("", "text/html", "an empty body"),
    ('{"message": "no"}', "application/json", "JSON of another shape"),
    ("blocked", "text/plain", "a body of type text/plain"),
]


@scenario()
def g11_an_api_calls_error_keeps_its_class_and_says_what_came(w: World) -> None:
    from colony_pool import ColonyAPIError, ColonyAuthError, ColonyNotFoundError, ColonyValidationError

    agent = w.pool().agent("col_one")
    classes = {400: ColonyValidationError, 401: ColonyAuthError, 403: ColonyAuthError, 404: ColonyNotFoundError}
    for status, cls in {**classes, 405: ColonyAPIError}.items():
        for body, kind, what in PAGES:
            w.colony.behave("status", status=status, body=body, headers={"Content-Type": kind}, only="/users/me")
            error: Any = error_of(agent.get, "/users/me")
            assert type(error) is cls, (status, error)
            assert error.status == status
            assert f"HTTP {status}, {what}, not The Colony's answer" in str(error), error
            assert kind in str(error)
            assert "key was refused" not in str(error)
    w.colony.behave("redirect", location="https://u:pw@login.example/?k=pw", only="/users/me")
    error = error_of(agent.get, "/users/me")
    assert "HTTP 302 to https://login.example/?..." in str(error)
    assert "pw" not in str(error)


@scenario()
def g19_a_gateways_own_401_throws_no_token_away(w: World) -> None:
    from colony_pool import ColonyAuthError

    agent = w.pool().agent("col_one")
    token = agent.token()
    for body, kind, _ in PAGES:
        w.colony.behave("status", status=401, body=body, headers={"Content-Type": kind}, only="/users/me")
        assert type(error_of(agent.get, "/users/me")) is ColonyAuthError
    assert agent.token() == token
    assert len(w.token_requests()) == 1
    w.colony.behave("status", status=401, only="/users/me")
    error_of(agent.get, "/users/me")
    assert len(w.token_requests()) == 2, "the API's own 401 asks for a new one"
