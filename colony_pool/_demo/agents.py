"""The agents of both sides: the same loop and the same supervisor, two ways to get a token."""

from __future__ import annotations

import json
import time
from typing import Protocol

import urllib3

from ..agent import Agent
from ..config import AUTH_TOKEN_RETRY, BreakerConfig, DenialConfig, TokenConfig, scaled
from ..errors import PoolClosedError
from ..pool import ColonyPool
from .plan import MAX_WAIT, RESTART, SCALE, STARTING

_TICK = 0.1


class Member(Protocol):
    """One agent's way to a token."""

    def token(self) -> str:
        """A valid token, or any exception when it gives up."""

    def work(self) -> None:
        """One API call with it."""


class Crew:
    """All agents of one side, and what they know of themselves."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.asking = 0
        self.lost: set[int] = set()
        self.gave_up = 0
        self.stopped = False

    def live(self, number: int) -> None:
        """One agent's life: get a token, use it, look again; when it dies, its supervisor restarts it."""
        member = self.members[number]
        time.sleep(STARTING * number / len(self.members))
        last = ""
        while not self.stopped:
            self.asking += 1
            try:
                token = member.token()
                if token != last:
                    last = token
                    member.work()
            except PoolClosedError:
                return
            except Exception:  # noqa: BLE001 - whatever it dies of, it is restarted
                self.lost.add(number)
                self.gave_up += 1
                pause = RESTART
            else:
                pause = _TICK
            finally:
                self.asking -= 1
            time.sleep(pause)


class Pooled:
    """An agent behind the pool."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def token(self) -> str:
        """A token from the pool, which waits through the outage if it must."""
        return self._agent.token()

    def work(self) -> None:
        """One API call."""
        self._agent.get("/users/me")


class Lone:
    """An agent on its own: plain urllib3, and the SDK's schedule for the token endpoint, without jitter."""

    sent = 0  # attempts of all of them

    def __init__(self, http: urllib3.PoolManager, base_url: str, key: str) -> None:
        self._http, self._base_url, self._key = http, base_url, key
        self._jwt = ""
        self._ends = 0.0

    @property
    def held(self) -> bool:
        """Whether it has a valid token."""
        return time.monotonic() < self._ends

    def token(self) -> str:
        """7 attempts, 2, 4, 8, 16, 32 and 60 (scaled) seconds apart."""
        if self.held:
            return self._jwt
        for retry in range(1, AUTH_TOKEN_RETRY.max_retries + 2):
            Lone.sent += 1
            answer = self._http.request("POST", f"{self._base_url}/auth/token", json={"api_key": self._key})
            if answer.status == 200:
                body = json.loads(answer.data)
                self._jwt, self._ends = body["access_token"], time.monotonic() + body["expires_in"]
                return self._jwt
            if answer.status not in AUTH_TOKEN_RETRY.retry_on:
                break
            if retry <= AUTH_TOKEN_RETRY.max_retries:
                time.sleep(AUTH_TOKEN_RETRY.delay(retry) / SCALE)
        raise RuntimeError(f"/auth/token: HTTP {answer.status}")

    def work(self) -> None:
        """One API call."""
        self._http.request("GET", f"{self._base_url}/users/me", headers={"Authorization": f"Bearer {self._jwt}"})


def make_pool(base_url: str, runtime: str) -> ColonyPool:
    """The pool at its defaults, its schedules scaled, and patience for two (scaled) hours."""
    return ColonyPool(
        base_url,
        auth_token_retry=scaled(AUTH_TOKEN_RETRY, SCALE),
        breaker=scaled(BreakerConfig(), SCALE),
        tokens=scaled(TokenConfig(), SCALE),
        denial=scaled(DenialConfig(), SCALE),
        max_wait=MAX_WAIT,
        token_cache=None,
        runtime=runtime,
        name="demo",
    )


def make_keys(agents: int) -> list[str]:
    """One key each, of the shape that the server takes."""
    return [f"col_demo_{number:05d}" for number in range(agents)]
