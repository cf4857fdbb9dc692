"""``ColonyPool``: the front door, and the only place where parts are wired and defaults chosen."""

from __future__ import annotations

import logging
import os
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._core import events as ev
from ._core.account import Permit
from ._core.dispatch import Dispatcher
from ._core.failure import closed
from ._core.journal import Journal
from ._core.outcome import OK, Outcome
from ._runtime.protocol import Runtime
from ._runtime.select import make_runtime
from ._shell.api import Api
from ._shell.attempt import Attempt
from ._shell.breaker import PoolBreaker
from ._shell.credential import Credential, Totp
from ._shell.runner import Runner
from ._shell.token_cache import TokenCache
from ._shell.transport import Transport
from .agent import Agent
from .config import (
    AUTH_TOKEN_RETRY,
    DEFAULT_BASE_URL,
    BreakerConfig,
    DenialConfig,
    DeskConfig,
    RetryBudgetConfig,
    RetryConfig,
    Timeout,
    TokenConfig,
    WindowConfig,
    check_base_url,
)
from .prometheus import REGISTRY, CollectorRegistry, Snapshot, serve, watch
from .status import BreakerStatus, PoolStatus, TokensStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ColonyPool"]

log = logging.getLogger("colony_pool")

_CLOSE_WITHIN = 1.0
_LOGGED = (ev.StateChanged, ev.HoldStarted, ev.KeyDenied)
_TOKEN_PATH = "/auth/token"  # noqa: S105 - a path


class ColonyPool:
    """One guarded door to The Colony for all agents of a process.

    Make one per process; threads and greenlets share it. Close it, or use it as a context manager.

    Arguments:
        base_url: the API; ``https://`` or loopback. Default: ``COLONY_BASE_URL``, else the public one.
        retry: retries of ordinary API calls.
        auth_token_retry: the schedule of the token endpoint; its sum (122 s) is the default ``max_wait``.
        breaker: when it opens, how often it probes.
        retry_budget: how many retries all agents together may make.
        max_wait: seconds that a call may be parked while the endpoint is down.
        timeout: bounds of one attempt, seconds.
        probe_timeout: seconds until a probe counts as failed; doubles with each that is lost.
        maxsize: requests in flight at once, and connections kept.
        token_cache: ``"disk"`` shares the SDK's cache on disk, ``None`` keeps tokens in memory only.
        registry: where the metrics go; ``None`` exports none.
        runtime: ``"auto"`` (gevent if it has patched this process, else threads), ``"threads"``, ``"gevent"``,
            or a ``Runtime`` such as ``colony_pool.testing.SimRuntime``.
        proxy: URL of an HTTP proxy; environment variables are not read.
        ca_certs: file of certificates to trust instead of the system's.
        user_agent: the ``User-Agent`` header.
        name: the pool's name in metrics and logs; default: the API's host.
        allow_insecure: accept ``http://`` to a host that is not this one.
        tokens, window, denial: see ``TokenConfig``, ``WindowConfig``, ``DenialConfig``.
        transport: something that sends, instead of the network; for tests.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        retry: RetryConfig | None = None,
        auth_token_retry: RetryConfig = AUTH_TOKEN_RETRY,
        breaker: BreakerConfig | None = None,
        retry_budget: RetryBudgetConfig | None = None,
        max_wait: float | None = None,
        timeout: Timeout | None = None,
        probe_timeout: float = 5.0,
        maxsize: int = 64,
        token_cache: str | None = "disk",
        registry: CollectorRegistry | None = REGISTRY,
        runtime: str | Runtime = "auto",
        proxy: str | None = None,
        ca_certs: str | None = None,
        user_agent: str | None = None,
        name: str | None = None,
        allow_insecure: bool = False,
        tokens: TokenConfig | None = None,
        window: WindowConfig | None = None,
        denial: DenialConfig | None = None,
        transport: Transport | None = None,
    ) -> None:
        given = base_url or os.environ.get("COLONY_BASE_URL") or DEFAULT_BASE_URL
        self.base_url = check_base_url(given, allow_insecure=allow_insecure)
        if token_cache not in ("disk", None):
            raise ValueError(f"token_cache={token_cache!r}: must be 'disk' or None")
        self._config = DeskConfig(
            retry=auth_token_retry,
            breaker=breaker or BreakerConfig(),
            budget=retry_budget or RetryBudgetConfig(),
            window=window or WindowConfig(),
            token=tokens or TokenConfig(),
            denial=denial or DenialConfig(),
            timeout=timeout or Timeout(),
            max_wait=auth_token_retry.patience if max_wait is None else max_wait,
            probe_timeout=probe_timeout,
            maxsize=maxsize,
        )
        self.name = name or urlsplit(self.base_url).netloc
        self._api_retry = retry or RetryConfig()
        self._runtime_choice = runtime
        self._transport_given = transport
        self._transport_options: dict[str, Any] = {"proxy": proxy, "ca_certs": ca_certs, "user_agent": user_agent}
        self._cache = TokenCache(self.base_url) if token_cache == "disk" else None
        self._agents: dict[str, Agent] = {}
        self._closed = False
        self._metrics_servers: list[Any] = []
        self._registry = registry
        self.breaker = PoolBreaker(self._config.breaker.fail_max, self.name)
        self._wire()
        self.journal = Journal(self._runtime.monotonic())
        if registry is not None:
            watch(registry, self.name, self)
        _remember(self)

    def _wire(self) -> None:
        """Make what must not be shared with a parent process: locks, sockets, timers, the desk."""
        choice = self._runtime_choice
        self._runtime = make_runtime(choice, self._config.maxsize) if isinstance(choice, str) else choice
        self._transport = self._transport_given or Transport(
            self.base_url,
            runtime=self._runtime,
            maxsize=self._config.maxsize,
            timeout=self._config.timeout,
            **self._transport_options,
        )
        base_path = urlsplit(self.base_url).path
        attempt = Attempt(self._transport, self._runtime, base_path + _TOKEN_PATH, self._config.timeout.total)
        desk = Dispatcher(self._config, self._runtime.random)
        self._runner = Runner(desk, self._runtime, attempt, self.breaker, [self._note, self._log], self._save)
        self.breaker.steer_with(lambda state: self._runner.settle(lambda now, wall: desk.force(state, now)))
        self._closing = self._runtime.event()
        self._api = Api(self._transport, self._runtime, base_path, self._api_retry, self._closing)

    def __enter__(self) -> ColonyPool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ColonyPool {self.name} {'closed' if self._closed else self._runner.dispatcher.circuit.state}>"

    def agent(self, api_key: str, *, totp: Totp = None) -> Agent:
        """Return the handle for ``api_key``: the same one for the same key.

        Arguments:
            api_key: starts with ``col_``.
            totp: for an account with 2FA: a callable that returns a fresh code (asked once per attempt), or one
                code, good for one attempt. A new one replaces the old and forgets that the key was refused.

        Raises:
            ValueError: the key, or the code, cannot be one. The message does not show it.
        """
        try:
            agent = self._agents.get(api_key) if isinstance(api_key, str) else None
            if agent is None:
                agent = self._agents.setdefault(api_key, Agent(self, Credential(api_key, totp)))
            agent._set_totp(totp)
            return agent
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    def status(self) -> PoolStatus:
        """Return what the pool knows now. Cheap enough for a health check; changes nothing."""
        now, wall = self._runtime.monotonic(), self._runtime.now()
        desk = self._runner.dispatcher
        circuit = desk.circuit
        troubled = circuit.state != ev.CLOSED
        accounts = [agent._account for agent in tuple(self._agents.values())]
        return PoolStatus(
            breaker=BreakerStatus(
                state=circuit.state,
                cause=circuit.cause,
                failures=circuit.failures,
                since=max(0.0, now - circuit.opened_at) if troubled else 0.0,
                next_probe_in=max(0.0, max(circuit.probe_at, desk.hold_until) - now) if troubled else None,
                probing=desk.lease is not None,
                generation=circuit.generation,
            ),
            tokens=self._tokens(now, wall),
            agents=len(accounts),
            waiters=desk.waiting,
            in_flight=len(desk.live),
            window=desk.window.size,
            hold_for=max(0.0, desk.hold_until - now),
            hold_cause=desk.hold_cause if desk.hold_until > now else "",
            denied=sum(a.denial is not None and a.denial.until > now for a in accounts),
            retry_budget=desk.budget.balance_at(now),
            retry_budget_limit=desk.budget.limit_at(now),
            connections=self._transport.connections(),
            closed=self._closed,
        )

    def start_metrics_server(self, port: int, addr: str = "127.0.0.1") -> int:
        """Serve this pool's registry at ``http://addr:port/metrics``; return the port (0 picks a free one).

        The server ends with the pool. Raises ``RuntimeError`` for a pool with ``registry=None``.
        """
        if self._registry is None:
            raise RuntimeError("start_metrics_server: this pool was made with registry=None and has no metrics")
        server, thread = serve(port, addr, self._registry)
        self._metrics_servers.append((server, thread))
        return int(server.server_port)

    def close(self) -> None:
        """Wake every waiter with ``PoolClosedError`` and end attempts, tasks and sockets within a second."""
        if self._closed:
            return
        self._closed = True
        desk = self._runner.dispatcher
        self._runner.settle(lambda now, wall: desk.close(now))
        for agent in tuple(self._agents.values()):
            agent._fresh_until = float("-inf")
        self._closing.set()
        self._runner.stop(_CLOSE_WITHIN)
        self._transport.close()
        self._runtime.close(_CLOSE_WITHIN)
        while self._metrics_servers:
            server, thread = self._metrics_servers.pop()
            server.shutdown()
            server.server_close()
            thread.join(_CLOSE_WITHIN)

    # -- for the parts --------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """What a scrape needs; reads without a lock."""
        now = self._runtime.monotonic()
        desk = self._runner.dispatcher
        kind = "hold" if desk.hold_until > now else "flight" if desk.circuit.state == ev.CLOSED else "probe"
        return Snapshot(
            state=self.journal.state,
            state_seconds=max(0.0, now - self.journal.state_since),
            waiters=desk.waiting,
            waiting_for=kind,
            window=desk.window.size,
            budget=desk.budget.balance_at(now),
            budget_limit=desk.budget.limit_at(now),
        )

    def _check_open(self) -> None:
        if self._closed:
            raise closed().exception()

    def _patience(self, max_wait: float | None) -> float:
        if self._config.retry.max_retries == 0:
            return 0.0
        if max_wait is None:
            return self._config.max_wait
        if isinstance(max_wait, bool) or not isinstance(max_wait, (int, float)) or not 0 <= max_wait < 1e9:
            raise ValueError(f"max_wait={max_wait!r}: must be a number of seconds from 0 to 1e9")
        return float(max_wait)

    def _tokens(self, now: float, wall: float) -> TokensStatus:
        tokens = [t for agent in tuple(self._agents.values()) if (t := agent._account.token) is not None]
        valid = [t for t in tokens if t.valid(now, wall)]
        soft = sum(t.is_soft(now, wall) for t in valid)
        earliest = min((t.ends_wall for t in valid), default=None)
        return TokensStatus(len(valid) - soft, soft, len(tokens) - len(valid), earliest)

    def _note(self, event: ev.Event) -> None:
        self.journal.note(event)

    def _log(self, event: ev.Event) -> None:
        if type(event) in _LOGGED:
            for level, message in _lines(event, self.name):
                log.log(level, message)

    def _save(self, permit: Permit, outcome: Outcome) -> None:
        """After a token was handed out: leave it on disk for the next process."""
        token = permit.account.token
        if self._cache is not None and outcome.kind == OK and token is not None and token.jwt == outcome.jwt:
            credential: Credential = permit.account.secret
            self._cache.save(credential.key, token.jwt, token.ends_wall)

    def _after_fork(self) -> None:
        """In a forked child: fresh locks, sockets and desk, no waiters; the tokens stay (G24)."""
        if self._closed:
            return
        self._runner.after_fork()
        self._transport.after_fork()
        self.breaker.after_fork()
        self._metrics_servers.clear()
        self._wire()
        self.journal.__init__(self._runtime.monotonic())  # type: ignore[misc]
        for agent in self._agents.values():
            agent._account.flight = None


def _lines(event: ev.Event, name: str) -> Iterator[tuple[int, str]]:
    """The log lines of an event: what an operator reads at 3 a.m."""
    if isinstance(event, ev.StateChanged):
        if event.new == ev.CLOSED:
            text = f"recovered after {event.since_open:.0f} s; {event.waiters} calls leave at the pace it bears"
            yield logging.WARNING, f"colony_pool {name}: {text}"
        elif event.old == ev.CLOSED and event.new == ev.OPEN:
            text = f"/auth/token is down ({event.cause}); one probe in {event.next_probe_in:.1f} s"
            yield logging.WARNING, f"colony_pool {name}: {text}; {event.waiters} calls wait, valid tokens are served"
        elif event.new == ev.OPEN:
            text = f"still down ({event.cause}) after {event.since_open:.0f} s; next probe in {event.next_probe_in:.0f} s"
            yield logging.INFO, f"colony_pool {name}: {text}; {event.waiters} calls wait"
    elif isinstance(event, ev.HoldStarted):
        yield logging.WARNING, f"colony_pool {name}: on hold for {event.seconds:.0f} s ({event.cause})"
    elif isinstance(event, ev.KeyDenied):
        text = f"a key was refused (HTTP {event.status} {event.code or ''}) and rests {event.seconds:.0f} s"
        yield logging.WARNING, f"colony_pool {name}: {text}; no other agent is affected"


_pools: weakref.WeakSet[ColonyPool] | None = None


def _remember(pool: ColonyPool) -> None:
    """Have ``pool`` renewed in forked children. The hook is set with the first pool, not at import."""
    global _pools  # noqa: PLW0603 - a process has one list of fork hooks
    if _pools is None:
        _pools = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_renew_all)
    _pools.add(pool)


def _renew_all() -> None:
    for pool in list(_pools or ()):
        pool._after_fork()
