"""``ColonyPool``: options, agents, status, close. What works behind it is an ``Engine``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import urlsplit

from ._check import LARGEST
from ._core import events as ev
from ._core.actions import Action
from ._core.instant import Instant
from ._driver.credential import AgentState, Credential, Totp
from ._driver.handles import Handles
from ._driver.token_cache import TokenCache
from ._engine import Engine, EngineHolder, EngineOptions, Outlasting
from ._fork import notice_fork, renew_in_children
from ._http.protocol import Transport
from ._http.proxies import ENVIRONMENT, proxy_option, settled
from ._http.tls import ClientCert, TlsContexts, client_certificate
from ._http.url import check_base_url
from ._log import EventLog, Lines
from ._metrics.counters import Counters
from ._metrics.snapshot import check_name
from ._metrics.source import MetricsSource
from ._runtime.protocol import Runtime
from ._store.option import StoreOption
from ._store.protocol import Store
from ._version import __version__
from .agent import Agent, state_of
from .config import (
    AUTH_TOKEN_RETRY,
    DEFAULT_BASE_URL,
    BreakerConfig,
    DispatcherConfig,
    KeepAliveConfig,
    PolicyConfig,
    RetryBudgetConfig,
    RetryConfig,
    Timeout,
    check_kinds,
)
from .prometheus import REGISTRY, CollectorRegistry, MetricsServers, watch
from .prometheus._pools import Exporter
from .status import PoolStatus

if TYPE_CHECKING:
    import pybreaker  # comes with the first pool

__all__ = ["ColonyPool"]

_CLOSE_WITHIN = 1.0


def _budget(given: RetryBudgetConfig, schedule: RetryConfig) -> RetryBudgetConfig:
    """Let a default budget hold a lone agent's whole schedule; one that somebody has set is kept."""
    if given != RetryBudgetConfig():
        return given
    return RetryBudgetConfig(reserve=max(given.reserve, schedule.max_retries))


class ColonyPool:
    """One shared circuit breaker, retry budget and connection pool for all agents of a process.

    Make one per process; threads and greenlets share it. Close it, or use it as a context manager.

    Arguments:
        base_url: the API; ``https://`` or loopback. Default: ``COLONY_BASE_URL``, else the public one.
        retry: retries of ordinary API calls.
        auth_token_retry: the schedule of the token endpoint alone.
        breaker: when it opens, how often it probes.
        retry_budget: how many retries all agents together may make. A default one holds at least the whole
            schedule of one agent, ``auth_token_retry.max_retries``.
        max_wait: seconds that a call may be parked while the endpoint is down. Default: the sum of
            ``auth_token_retry``'s delays, 122. ``math.inf`` is no limit.
        timeout: bounds of one attempt, seconds.
        keep_alive: for how long a connection is kept, seconds.
        probe_timeout: seconds until a probe counts as failed; doubles with each that is lost.
        maxsize: requests in flight at once, and connections kept; 1 to 65,535.
        token_cache: ``"disk"`` shares the SDK's cache on disk, ``None`` keeps tokens in memory only.
        registry: where the metrics go; ``None`` exports none.
        runtime: ``"auto"`` (gevent if it has patched this process, else threads), ``"threads"``, ``"gevent"``,
            or a ``Runtime`` such as ``colony_pool.testing.SimRuntime``.
        proxy: URL of an HTTP proxy, its user and password included, or ``None``. Default: what ``HTTPS_PROXY``,
            ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say as the pool is made; never for loopback.
        ca_certs: file or folder of certificates to trust instead of the system's. Default: the first that is set of
            ``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``. Read again when it has changed.
        client_cert: the certificate to show, with its key: one file, or ``(certificate, key)``, or ``(certificate,
            key, password)``. Read again when it has changed.
        user_agent: the ``User-Agent`` header.
        name: the pool's name in metrics and logs; default: the API's host.
        allow_insecure: accept ``http://`` to a host that is not this one.
        policy: what few ever change: spacing of attempts, ages of tokens, how long the refused are left alone.
        transport: a ``Transport`` that sends in place of the network; for tests.
        shared: who shares one breaker: ``"host"`` all processes of this user on this host, a ``redis://`` or
            ``valkey://`` URL all that use that server (and while it fails, all processes of the host that do), a
            ``Store`` all pools that are given it. Default: ``None``, this pool alone, which writes no file and opens
            no connection that nobody has asked for.
        share_tokens: let that server hold tokens, too, each encrypted with what only its API key opens.

    Attributes:
        base_url: the API, as it is used.
        name: what the pool is called in metrics and logs.
        breaker: a ``pybreaker.CircuitBreaker`` with the state and the counters of the pool. To ``open``,
            ``half_open`` or ``close`` it, or to set its ``fail_max``, is to do so to the pool.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        retry: RetryConfig = RetryConfig(),
        auth_token_retry: RetryConfig = AUTH_TOKEN_RETRY,
        breaker: BreakerConfig = BreakerConfig(),
        retry_budget: RetryBudgetConfig = RetryBudgetConfig(),
        max_wait: float | None = None,
        timeout: Timeout = Timeout(),
        keep_alive: KeepAliveConfig = KeepAliveConfig(),
        probe_timeout: float = 5.0,
        maxsize: int = 64,
        token_cache: Literal["disk"] | None = "disk",
        registry: CollectorRegistry | None = REGISTRY,
        runtime: Literal["auto", "threads", "gevent"] | Runtime = "auto",
        proxy: str | Literal["environment"] | None = ENVIRONMENT,
        ca_certs: str | os.PathLike[str] | None = None,
        client_cert: ClientCert | None = None,
        user_agent: str | None = None,
        name: str | None = None,
        allow_insecure: bool = False,
        policy: PolicyConfig = PolicyConfig(),
        transport: Transport | None = None,
        shared: Literal["host"] | str | Store | None = None,
        share_tokens: bool = False,
    ) -> None:
        try:
            given_proxy, certificate = proxy_option(proxy), client_certificate(client_cert)
        finally:
            del proxy, client_cert  # no traceback of ours holds a secret
        check_kinds(
            retry=retry, auth_token_retry=auth_token_retry, breaker=breaker, retry_budget=retry_budget,
            timeout=timeout, keep_alive=keep_alive, policy=policy, allow_insecure=allow_insecure,
            share_tokens=share_tokens,
        )  # fmt: skip
        given = base_url or os.environ.get("COLONY_BASE_URL") or DEFAULT_BASE_URL
        self.base_url = check_base_url(given, allow_insecure=allow_insecure)
        route, complaint = settled(given_proxy, self.base_url, allow_insecure=allow_insecure)
        if token_cache not in ("disk", None):
            raise ValueError(f"token_cache={token_cache!r}: must be 'disk' or None")
        if max_wait is None:
            max_wait = auth_token_retry.patience
        elif max_wait == math.inf:
            max_wait = float(LARGEST)
        store = StoreOption(shared, share_tokens=share_tokens, base_url=self.base_url)
        config = DispatcherConfig(
            retry=auth_token_retry, breaker=breaker, retry_budget=_budget(retry_budget, auth_token_retry),
            policy=policy, timeout=timeout, max_wait=max_wait, probe_timeout=probe_timeout, maxsize=maxsize,
            store_poll_interval=store.look,
        )  # fmt: skip
        self.name = check_name(name) if name is not None else urlsplit(self.base_url).netloc
        self._is_over = False  # nothing is left to close
        self._registry = registry
        self._metrics_servers = MetricsServers()
        self._agents: Handles[Agent] = Handles(lambda agent: self._engines.current.tokens.is_of_use(state_of(agent)))
        lines = Lines(self._post)
        self._event_log = EventLog(self.name, lines)
        self._counters = Counters(math.inf)  # its clock starts with the engine
        self._exporter: Exporter | None = None
        from ._driver.pybreaker_bridge import PoolBreaker  # here: pybreaker imports redis, if there is one, and more

        mirror = PoolBreaker(self.name, lambda: self._engines.current)
        self.breaker: pybreaker.CircuitBreaker = mirror
        network: dict[str, Any] = {}
        if transport is None:
            tls = TlsContexts(self.base_url, route, ca_certs, certificate, self._event_log.configured)
            network = {"proxy": route, "tls": tls, "user_agent": user_agent, "keep_alive": keep_alive}
        options = EngineOptions(
            self.name, self.base_url, config, retry, runtime, store, transport, token_cache == "disk", network
        )
        outlasting = Outlasting(
            breaker=mirror,
            counters=self._counters,
            event_log=self._event_log,
            lines=lines,
            cache=TokenCache(self.base_url, lines) if token_cache == "disk" else None,
            keys=lambda: [state_of(agent) for agent in self._agents.all()],
            state_of=self._key_of,
            handles=self._agents,
            listener=self._on_event if registry is not None else None,
        )
        self._engines = EngineHolder(
            lambda fail_max: Engine(options, outlasting, fail_max), mirror, self._counters, may_turn=runtime == "auto"
        )
        if complaint and transport is None:
            self._event_log.configured(complaint)
        self._source = MetricsSource(self._engines, self._counters, lines)
        self._exported_as = ""
        if registry is not None:
            self._exporter, self._exported_as = watch(registry, self.name, self._source, __version__)
        renew_in_children(self)

    def __enter__(self) -> ColonyPool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self._engines.current.dispatcher.breaker.state
        return f"<ColonyPool {self.name}, {'closed' if self._engines.is_closed else f'breaker {state}'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ColonyPool does not pickle, nor does its agent: make one in each process")

    def agent(self, api_key: str, *, totp: Totp = None) -> Agent:
        """Return the handle for ``api_key``: the same one for the same key.

        Arguments:
            api_key: starts with ``col_``.
            totp: for an account with 2FA: a callable that returns a fresh code (asked once per attempt), or one
                code, good for one attempt. A new one replaces the old and forgets that a code was refused.

        Raises:
            ValueError: the key, or the code, cannot be one. The message does not show it.
        """
        try:
            agent = self._agents.get(api_key) if isinstance(api_key, str) else None
            if agent is None:
                agent = self._agents.keep(api_key, Agent(self, self._engines, Credential(api_key, totp)))
            self._engines.current.tokens.set_totp(state_of(agent), totp)
            return agent
        finally:
            del api_key, totp  # no traceback of ours holds a secret

    def forget(self, api_key: str) -> bool:
        """Let go of ``api_key``: its handle, its token and what is known of it leave the pool's memory.

        Returns False if the pool does not know it. The cache on disk keeps its entry. Calls that wait are answered as
        usual. A handle that somebody still holds goes on working, apart from the one that ``agent`` returns then.
        A handle that nobody holds is forgotten without this, once it has no valid token and its key is not refused.
        """
        try:
            return isinstance(api_key, str) and self._agents.forget(api_key)
        finally:
            del api_key  # no traceback of ours holds a secret

    def status(self) -> PoolStatus:
        """Return what the pool knows now. Cheap enough for a health check; changes nothing."""
        return self._engines.current.snapshots.status(closed=self._engines.is_closed)

    def start_metrics_server(self, port: int, addr: str = "127.0.0.1") -> int:
        """Serve this pool's registry at ``http://addr:port/metrics``; return the port (0 picks a free one).

        It ends with the pool. Raises ``RuntimeError`` (no registry), ``OSError`` (it is taken), ``PoolClosedError``.
        """
        self._engines.ready()
        return self._metrics_servers.start(port, addr, self._registry)

    def clear_rate_limit(self) -> float:
        """End the hold that the server has asked for; return for how many seconds it would have gone on, else 0.

        For an operator who knows better than the server's last answer: one attempt leaves next, not everybody's. If
        the server still counts, its next 429 holds again, even in answer to an attempt that is out at this moment.
        With ``shared=`` all processes that share it hear of it, each when it looks next: within a second or
        two, or after its next call was sent away. While the store fails, it is for this process alone.

        Raises:
            PoolClosedError: the pool was closed.
        """
        engine, left = self._engines.ready(), [0.0]

        def clear(at: Instant) -> list[Action]:
            left[0] = engine.dispatcher.rate_limit.left(at.monotonic)
            return engine.dispatcher.clear_rate_limit(at)

        engine.driver.submit_and_wait(clear)
        return left[0]

    def close(self) -> None:
        """Wake every waiter with ``PoolClosedError`` and end attempts, tasks and sockets within a second.

        It may be called again, and by several at once: each call does what is left to do. In a gevent hub, where a
        signal handler runs, nothing can be waited for: what is at work then ends by itself.
        """
        notice_fork()
        if self._is_over:
            return
        engine = self._engines.close()
        may_wait = engine.runtime.may_wait()
        engine.stop(_CLOSE_WITHIN, self._engines.ends_with_pool.all())
        if self._exporter is not None:
            self._exporter.end(self._exported_as, self._source)
        if may_wait:
            self._metrics_servers.close(_CLOSE_WITHIN)
        else:
            engine.runtime.spawn(self._metrics_servers.close, _CLOSE_WITHIN)
        self._is_over = may_wait

    # -- for the parts --------------------------------------------------------------------------------

    def _key_of(self, api_key: str) -> AgentState | None:
        agent = self._agents.get(api_key)
        return state_of(agent) if agent is not None else None

    def _post(self, write: Callable[[], object]) -> None:
        self._engines.current.delivery.post(write)

    def _on_event(self, event: ev.Event) -> None:
        if self._exporter is not None:
            self._exporter.note(event, self._source)

    def _after_fork(self) -> None:
        """One that is closed, or was being closed as another thread forked, is closed here, too, and the parent's."""
        self._engines.after_fork()
        self._metrics_servers.forget()


def engines_of(pool: ColonyPool) -> EngineHolder:
    """What works behind ``pool``: for the other modules of this library."""
    return pool._engines


def metrics_of(pool: ColonyPool) -> MetricsSource:
    """The numbers of ``pool``: for the other modules of this library."""
    return pool._source
