"""``ColonyPool``: the front door, and the only place where parts are wired and defaults chosen."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ._check import LARGEST
from ._core import events as ev
from ._core.account import Permit
from ._core.actions import Action
from ._core.dispatch import Dispatcher
from ._core.failure import closed
from ._core.journal import Journal
from ._core.outcome import DENIED, Outcome
from ._core.view import Elsewhere
from ._http.transport import Transport
from ._http.url import check_base_url
from ._runtime.protocol import Runtime
from ._runtime.select import gevent_has_patched, make_runtime
from ._shared.option import Shared
from ._shared.store import Store
from ._shell.api import Api
from ._shell.attempt import Attempt
from ._shell.breaker import PoolBreaker
from ._shell.credential import Credential, Totp
from ._shell.fork import notice_fork, renew_in_children
from ._shell.handles import Handles
from ._shell.log import EventLog, Lines
from ._shell.mailbox import Mailbox
from ._shell.observe import Observation, Observer, check_name
from ._shell.once import Once
from ._shell.runner import Runner
from ._shell.token_cache import TokenCache
from ._shell.unsaved import Unsaved
from ._version import __version__
from ._weakset import ThreadSafeWeakSet
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
    check_kinds,
)
from .prometheus import REGISTRY, CollectorRegistry, Exporter, MetricsServers, watch
from .status import PoolStatus

__all__ = ["ColonyPool"]

_CLOSE_WITHIN = 1.0
_TOKEN_PATH = "/auth/token"


def _budget(given: RetryBudgetConfig, schedule: RetryConfig) -> RetryBudgetConfig:
    """Let a default budget hold a lone agent's whole schedule; one that somebody has set is kept."""
    if given != RetryBudgetConfig():
        return given
    return RetryBudgetConfig(reserve=max(given.reserve, schedule.max_retries))


class ColonyPool:
    """One guarded door to The Colony for all agents of a process.

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
        probe_timeout: seconds until a probe counts as failed; doubles with each that is lost.
        maxsize: requests in flight at once, and connections kept; 1 to 65,535.
        token_cache: ``"disk"`` shares the SDK's cache on disk, ``None`` keeps tokens in memory only.
        registry: where the metrics go; ``None`` exports none.
        runtime: ``"auto"`` (gevent if it has patched this process, else threads), ``"threads"``, ``"gevent"``,
            or a ``Runtime`` such as ``colony_pool.testing.SimRuntime``.
        proxy: URL of an HTTP proxy; environment variables are not read.
        ca_certs: file of certificates to trust instead of the system's.
        user_agent: the ``User-Agent`` header.
        name: the pool's name in metrics and logs; default: the API's host.
        allow_insecure: accept ``http://`` to a host that is not this one.
        tokens: the ages of a token.
        window: the admission window.
        denial: how long refused keys and throttled pools rest.
        transport: something that sends, instead of the network; for tests.
        shared: who stands behind one door: ``"host"`` all processes of this user on this host, a ``redis://`` or
            ``valkey://`` URL all that use that server (and while it fails, all processes of the host that do), a
            ``Store`` all pools that are given it. Default: ``None``, this pool alone, which writes no file and opens
            no connection that nobody has asked for.
        share_tokens: let that server hold tokens, too, each encrypted with what only its API key opens.
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
        tokens: TokenConfig = TokenConfig(),
        window: WindowConfig = WindowConfig(),
        denial: DenialConfig = DenialConfig(),
        transport: Transport | None = None,
        shared: str | Store | None = None,
        share_tokens: bool = False,
    ) -> None:
        check_kinds(
            retry=retry, auth_token_retry=auth_token_retry, breaker=breaker, retry_budget=retry_budget, tokens=tokens,
            timeout=timeout, window=window, denial=denial, allow_insecure=allow_insecure, share_tokens=share_tokens,
        )  # fmt: skip
        given = base_url or os.environ.get("COLONY_BASE_URL") or DEFAULT_BASE_URL
        self.base_url = check_base_url(given, allow_insecure=allow_insecure)
        if token_cache not in ("disk", None):
            raise ValueError(f"token_cache={token_cache!r}: must be 'disk' or None")
        self._shared = Shared(shared, share_tokens=share_tokens, base_url=self.base_url)
        if max_wait is None:
            max_wait = auth_token_retry.patience
        elif max_wait == math.inf:
            max_wait = float(LARGEST)
        self._config = DeskConfig(
            retry=auth_token_retry, breaker=breaker, budget=_budget(retry_budget, auth_token_retry), window=window,
            token=tokens, denial=denial, timeout=timeout,
            max_wait=max_wait,
            probe_timeout=probe_timeout, maxsize=maxsize, look=self._shared.look,
        )  # fmt: skip
        self.name = check_name(name) if name is not None else urlsplit(self.base_url).netloc
        self._api_retry, self._runtime_choice, self._transport_given = retry, runtime, transport
        self._transport_options: dict[str, Any] = {"proxy": proxy, "ca_certs": ca_certs, "user_agent": user_agent}
        self._cache = TokenCache(self.base_url) if token_cache == "disk" else None
        self._agents: Handles[Agent] = Handles(lambda agent: agent._is_of_use())
        self._closed = False
        self._is_over = False  # nothing is left to close
        self._turning = Once()
        self._at_close: ThreadSafeWeakSet[Any] = ThreadSafeWeakSet()  # whose ``end()`` is called
        self._metrics_servers = MetricsServers()
        self._registry = registry
        self._exporter: Exporter | None = None
        self._exported_as = ""
        self.breaker = PoolBreaker(self._config.breaker.fail_max, self.name)
        self.journal = Journal(math.inf)  # its clock starts when the runtime is there
        self._event_log = EventLog(self.name)
        self._wire()
        # After the mailbox: what is saved when the interpreter ends may have something to tell.
        self._unsaved = Unsaved(self._cache) if self._cache is not None else None
        if registry is not None:
            self._exporter, self._exported_as = watch(registry, self.name, self, __version__)
        renew_in_children(self)

    def _wire(self) -> None:
        """Make what must not be shared with a parent process: locks, sockets, timers, the desk."""
        self._wired_for = ""  # the name of the runtime that all parts are wired for
        choice = self._runtime_choice
        self._runtime = make_runtime(choice)
        self._mailbox = Mailbox(self._runtime, self._event_log.lost)
        self.breaker.tell_by(self._mailbox)
        self._event_log.write_by(self._mailbox.post)
        self.lines = Lines(self._mailbox.post)
        if self._cache is not None:
            self._cache.write_by(self._mailbox.post)
        self._transport = self._transport_given or Transport(
            self.base_url, runtime=self._runtime, maxsize=self._config.maxsize, timeout=self._config.timeout,
            **self._transport_options,
        )  # fmt: skip
        base_path = urlsplit(self.base_url).path
        known_good = any(agent._account.token is not None for agent in self._agents.all())
        desk = Dispatcher(self._config, self._runtime.random, known_good=known_good)
        self._link = self._shared.link(desk, self._runtime, name=self.name, cache=self._cache)
        total = self._config.timeout.total
        attempt = Attempt(self._transport, self._runtime, base_path + _TOKEN_PATH, total, self._claim, self.lines)
        self._runner = Runner(
            desk, self._runtime, attempt, self.breaker, [self._note],
            self._follow_up if self._cache or self._link else None, attempt.ask_code, self.lines,
        )  # fmt: skip
        if self._link is not None:
            self._link.feed, self._runner.carry = self._runner.feed, self._link.carry
            self._link.write_by(self._mailbox.post)
        self.breaker.steer_with(lambda state: self._runner.settle(lambda now, wall: desk.force(state, now)))
        self._closing = self._runtime.event()
        self._api = Api(self._transport, self._runtime, base_path, self._api_retry, self._closing)
        self.journal.restart(self._runtime.monotonic())
        self._observer = Observer(
            desk, self.journal, self._runtime.monotonic, self._runtime.now, self._transport.connections,
            lambda: [agent._account for agent in self._agents.all()], self._transport.opened,
            lambda: self.breaker.listener_errors, lambda: self._mailbox.dropped,
            self._link.health if self._link is not None else None,
        )  # fmt: skip
        self._wired_for = self._runtime.name

    def __enter__(self) -> ColonyPool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self._runner.dispatcher.circuit.state
        return f"<ColonyPool {self.name}, {'closed' if self._closed else f'breaker {state}'}>"

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
                agent = self._agents.keep(api_key, Agent(self, Credential(api_key, totp)))
            agent._set_totp(totp)
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
        notice_fork()
        return self._observer.status(closed=self._closed)

    def observe(self) -> Observation:
        """Return the gauges of one moment, for an exporter. Reads without a lock and changes nothing."""
        notice_fork()
        return self._observer.observe()

    def later(self, delay: float, fn: Callable[[], object]) -> object:
        """Call ``fn()`` after ``delay`` seconds in a task of the pool's runtime, for an exporter."""
        notice_fork()
        return self._runtime.call_later(delay, fn)

    def start_metrics_server(self, port: int, addr: str = "127.0.0.1") -> int:
        """Serve this pool's registry at ``http://addr:port/metrics``; return the port (0 picks a free one).

        It ends with the pool. Raises ``RuntimeError`` (no registry), ``OSError`` (it is taken), ``PoolClosedError``.
        """
        notice_fork()
        if self._closed:
            raise closed().exception()
        return self._metrics_servers.start(port, addr, self._registry)

    def clear_rate_limit(self) -> float:
        """End the hold that the server has asked for; return for how many seconds it would have gone on, else 0.

        For an operator who knows better than the server's last answer: one attempt leaves next, not everybody's. If
        the server still counts, its next 429 holds again, even in answer to an attempt that is out at this moment.
        With ``shared=`` all processes behind the same door hear of it, each when it looks next: within a second or
        two, or after its next call was sent away. While the store fails, it is for this process alone.

        Raises:
            PoolClosedError: the pool was closed.
        """
        self._ready()
        desk, left = self._runner.dispatcher, [0.0]

        def clear(now: float, wall: float) -> list[Action]:
            left[0] = max(0.0, desk.hold_until - now)
            return desk.clear_rate_limit(now, wall)

        self._runner.settle(clear)
        return left[0]

    def close(self) -> None:
        """Wake every waiter with ``PoolClosedError`` and end attempts, tasks and sockets within a second.

        It may be called again, and by several at once: each call does what is left to do. In a gevent hub, where a
        signal handler runs, nothing can be waited for: what is at work then ends by itself.
        """
        notice_fork()
        if self._is_over:
            return
        self._closed = True
        may_wait = self._runtime.may_wait()
        desk = self._runner.dispatcher
        self._runner.settle(lambda now, wall: desk.close(now))
        for agent in self._agents.all():
            agent._fresh_until = float("-inf")
        self._closing.set()
        for one in (*self._at_close.all(), *(() if self._transport_given else (self._transport.bulkhead,))):
            one.end()
        self._runner.stop(_CLOSE_WITHIN)
        if self._link is not None:
            self._link.close()
        self._transport.close()
        if self._unsaved is not None:
            self._unsaved.save_all(until=0.0)  # what nobody has begun to write
        self._mailbox.close(_CLOSE_WITHIN)
        self._runtime.close(_CLOSE_WITHIN)
        if self._exporter is not None:
            self._exporter.end(self._exported_as, self)
        if may_wait:
            self._metrics_servers.close(_CLOSE_WITHIN)
        else:
            self._runtime.spawn(self._metrics_servers.close, _CLOSE_WITHIN)
        self._is_over = may_wait

    # -- for the parts --------------------------------------------------------------------------------

    def _ready(self) -> None:
        """Every call that does more than read a cached token comes through here."""
        notice_fork()
        if self._closed:
            raise closed().exception()
        if not self._suits_the_process():
            self._turning.do(self._suits_the_process, self._turn_to_gevent)

    def _suits_the_process(self) -> bool:
        """Whether all parts are wired, and for greenlets if gevent has patched this process since they were made."""
        return self._runtime_choice != "auto" or self._wired_for == "gevent" or not gevent_has_patched()

    def _turn_to_gevent(self) -> None:
        """gunicorn patches in its workers, after an application that it has preloaded made its pool."""
        make_runtime("gevent").home()  # what gevent imports for its first hub, it imports while other threads wait
        self._transport.close()
        self.journal.grow(self._observer.running())
        self._begin_anew()

    def _note(self, event: ev.Event) -> None:
        self.journal.note(event)
        self._event_log.note(event, self._runtime.monotonic())
        if self._exporter is not None:
            self._exporter.note(event, self)

    def _claim(self, permit: Permit) -> Elsewhere | None:
        """Before an attempt: whether another process makes it, or has made it.

        A one-time code that another process of this host has spent is not sent: its token is on disk by now.
        """
        found = self._link.claim(permit) if self._link is not None else None
        account = permit.account
        if found is None and permit.claimed is None and account.totp and self._cache is not None:
            wall = self._runtime.now()
            left = self._cache.load(account.secret.key, wall)
            if left is not None and account.is_news(*left):
                return Elsewhere(token=(left[0], left[1] - wall))
        return found

    def _follow_up(self, permit: Permit, outcome: Outcome) -> None:
        """After a token was handed out: leave it on disk for the next process, and the key to it."""
        key = permit.account.secret.key
        if self._unsaved is not None:
            self._unsaved.save(key)
        if outcome.kind == DENIED and outcome.code_again and (agent := self._agents.get(key)) is not None:
            agent._look_on_disk()  # for the token of the process that has spent the code
        if self._link is not None:
            self._link.release(permit, outcome)

    def _after_fork(self) -> None:
        """In a forked child: fresh locks, sockets and desk, no waiters; the tokens stay (G24).

        One that is closed, or was being closed as another thread forked, is closed here, too, and the parent's.
        """
        self._turning = Once()
        self._runner.after_fork()
        self._transport.after_fork()
        if self._unsaved is not None:
            self._unsaved.after_fork()
        self._metrics_servers.forget()
        self.journal.reset(self._runtime.monotonic())
        if not self._closed:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """A fresh runtime, desk and transport; who waited at the old desk is none of ours."""
        self.breaker.begin_anew()
        self._wire()
        desk = self._runner.dispatcher
        for agent in self._agents.all():
            agent._account.flight = None
            desk.codes.answered(agent._account)  # the task that asked for one is none of ours
