"""The engine: all parts of one pool, made together. The one composition root.

What must not be shared with a parent process, or with threads once gevent has patched this one, is here: locks,
sockets, timers, the dispatcher. After a fork or a late patch the pool makes another engine; nothing is re-assigned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from ._core import events as ev
from ._core.dispatcher import Dispatcher
from ._core.failure import closed
from ._core.flight import Permit
from ._core.outcome import REJECTED, Outcome
from ._core.shared_state import HandledElsewhere
from ._driver.attempt import Attempt, AttemptRegistry
from ._driver.credential import AgentState
from ._driver.delivery import DeliveryQueue
from ._driver.driver import Driver
from ._driver.handles import Handles
from ._driver.notifier import MirroringBreaker, Notifier
from ._driver.token_cache import TokenCache
from ._driver.tokens import TokenPublisher, TokenSource
from ._driver.unsaved import Unsaved
from ._fork import notice_fork
from ._http.api import ApiClient
from ._http.protocol import Transport
from ._http.transport import HttpTransport
from ._log import LOGGED, EventLog, Lines
from ._metrics.counters import Counters
from ._metrics.snapshot import SnapshotSource
from ._runtime.once import Once
from ._runtime.protocol import Runtime
from ._runtime.select import RuntimeName, gevent_has_patched, make_runtime
from ._store.option import StoreOption
from ._weakset import ThreadSafeWeakSet
from .config import DispatcherConfig, RetryConfig

_TOKEN_PATH = "/auth/token"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a pool was made with, checked."""

    name: str
    base_url: str
    config: DispatcherConfig
    api_retry: RetryConfig
    runtime: RuntimeName | Runtime
    shared: StoreOption
    transport: Transport | None  # of the user's own
    on_disk: bool  # tokens are kept in the cache on disk
    transport_options: dict[str, Any] = field(default_factory=dict)


class Endable(Protocol):
    """Something that ends with its pool."""

    def end(self) -> None:
        """End; never waits."""


@dataclass(frozen=True, slots=True)
class Outlasting:
    """What a pool keeps from one engine to the next."""

    breaker: MirroringBreaker
    counters: Counters
    event_log: EventLog
    lines: Lines
    cache: TokenCache | None
    keys: Callable[[], Iterable[AgentState]]
    state_of: Callable[[str], AgentState | None]
    handles: Handles[Any]
    listener: Callable[[ev.Event], object] | None


class Engine:
    """The parts. Each is whole when it is made; later ones know earlier ones.

    Arguments:
        fail_max: what an operator has set in place of the option, if this engine follows another one.
    """

    def __init__(self, options: EngineOptions, outlasting: Outlasting, fail_max: int | None = None) -> None:
        self.options = options
        self._keys = outlasting.keys
        self._key_of = outlasting.state_of
        self._counters = outlasting.counters
        self._cache = outlasting.cache
        self._event_log = outlasting.event_log
        self.runtime = make_runtime(options.runtime)
        self.delivery = DeliveryQueue(self.runtime, outlasting.event_log.lost)
        # After the queue: what is saved when the interpreter ends may have something for the log.
        self._unsaved = Unsaved(self._cache) if self._cache is not None else None
        config, base_path = options.config, urlsplit(options.base_url).path
        self._network: HttpTransport | None = None
        if options.transport is not None:
            self.transport: Transport = options.transport
        else:
            self.transport = self._network = HttpTransport(
                options.base_url, runtime=self.runtime, maxsize=config.maxsize, timeout=config.timeout,
                **options.transport_options,
            )  # fmt: skip
        attempts = AttemptRegistry()
        self.dispatcher = Dispatcher(
            config,
            self.runtime.random,
            known_good=any(key.account.token is not None for key in self._keys()),
            has_begun=attempts.has_begun,
            fail_max=fail_max,
        )
        self.store = options.shared.connect(
            self.dispatcher, self.runtime, name=options.name, cache=self._cache, lines=outlasting.lines
        )
        publisher = TokenPublisher(self.runtime, self._cache, self._unsaved, self.store, outlasting.handles)
        attempt = Attempt(
            self.transport, self.runtime, attempts, base_path + _TOKEN_PATH, config.timeout.total,
            self._claim if self._cache is not None or self.store is not None else None,
            outlasting.lines,
        )  # fmt: skip
        self.driver = Driver(
            self.dispatcher,
            self.runtime,
            Notifier(
                self.runtime,
                outlasting.breaker,
                [self._counters.note, *([outlasting.listener] if outlasting.listener is not None else [])],
                outlasting.lines,
                {**dict.fromkeys(LOGGED, self._log), ev.StateChanged: self._on_move},
            ),
            attempts,
            attempt,
            ask_code=attempt.ask_code,
            token_changed=publisher.token_changed,
            after=self._follow_up if self._cache is not None or self.store is not None else None,
            store=self.store,
            lines=outlasting.lines,
        )
        self.tokens = TokenSource(config, self.runtime, self.driver, publisher, self._cache, self.store)
        self._publisher = publisher
        self.closing = self.runtime.event()
        self.api = ApiClient(self.transport, self.runtime, base_path, options.api_retry, self.closing)
        self.snapshots = SnapshotSource(
            self.dispatcher, self._counters, self.runtime.monotonic, self.runtime.now, self.transport.connections,
            lambda: [key.account for key in self._keys()], self.transport.opened,
            lambda: outlasting.breaker.listener_errors, lambda: self.delivery.dropped,
            self.store.health if self.store is not None else None,
        )  # fmt: skip
        self._counters.restart(self.runtime.monotonic())

    @property
    def network(self) -> HttpTransport:
        """The library's own transport. Raises ``RuntimeError`` if a user's own stands in its place."""
        if self._network is None:
            raise RuntimeError("transport: this pool has one of the user's own")
        return self._network

    # -- what has happened ----------------------------------------------------------------------------

    def _log(self, event: ev.Event) -> None:
        self._event_log.note(event, self.runtime.monotonic())

    def _on_move(self, event: ev.Event) -> None:
        """The breaker moved. As it opens, connections end: another may lead to a backend that is well."""
        if isinstance(event, ev.StateChanged) and event.new == ev.OPEN and self._network is not None:
            self._network.retire_connections()
        self._log(event)

    # -- around an attempt ----------------------------------------------------------------------------

    def _claim(self, permit: Permit) -> HandledElsewhere | None:
        """Before an attempt: whether another process makes it, or has made it.

        A one-time code that another process of this host has spent is not sent: its token is on disk by now.
        """
        store, account = self.store, permit.account
        found = store.claim(permit, self.driver.submit) if store is not None else None
        claimed = store is not None and store.has_claim(permit)
        if found is None and not claimed and account.totp and self._cache is not None:
            wall = self.runtime.now()
            left = self._cache.load(account.owner.credential.key, wall)
            if left is not None and account.is_news(*left):
                return HandledElsewhere(token=(left[0], left[1] - wall))
        return found

    def _follow_up(self, permit: Permit, outcome: Outcome) -> None:
        """After a token was handed out: leave it on disk for the next process, and the key to it."""
        key: AgentState = permit.account.owner
        if self._unsaved is not None:
            self._unsaved.save(key.credential.key)
        if outcome.kind == REJECTED and outcome.code_again and self._key_of(key.credential.key) is not None:
            self.tokens.look_on_disk(key)  # for the token of the process that has spent the code
        if self.store is not None:
            self.store.release(permit, outcome)

    # -- the end --------------------------------------------------------------------------------------

    def stop(self, within: float, others: Iterable[Endable] = ()) -> None:
        """Tell every waiter that the pool is closed, and end attempts and timers within so many seconds.

        ``others``: what uses the engine, and ends with it.
        """
        self.driver.submit_and_wait(self.dispatcher.close)
        self._publisher.close()
        for key in self._keys():
            key.expire()
        self.closing.set()
        for other in others:
            other.end()
        if self._network is not None:
            self._network.bulkhead.end()
        self.driver.stop(within)
        if self.store is not None:
            self.store.close()
        self.transport.close()
        self.save()
        self.delivery.close(within)
        self.runtime.close(within)

    def save(self) -> None:
        """Write the tokens that nobody has begun to write."""
        if self._unsaved is not None:
            self._unsaved.save_all(until=0.0)

    def after_fork(self) -> None:
        """In a forked child: all of this is the parent's, and stands still here."""
        self.driver.after_fork()
        self.transport.after_fork()
        if self._unsaved is not None:
            self._unsaved.after_fork()


class EngineHolder:
    """The engine of the moment, and when another takes its place: in a forked child, and after a late patch.

    Arguments:
        make: makes an engine; it is given the ``fail_max`` of the one before.
        may_turn: whether the engine follows when gevent patches the process.
    """

    def __init__(
        self, make: Callable[[int | None], Engine], breaker: MirroringBreaker, counters: Counters, *, may_turn: bool
    ) -> None:
        self._make = make
        self._breaker = breaker
        self._counters = counters
        self._may_turn = may_turn
        self._turning = Once()
        self._is_closed = False
        self.ends_with_pool: ThreadSafeWeakSet[Endable] = ThreadSafeWeakSet()  # told when the pool closes
        self._current = make(None)

    @property
    def current(self) -> Engine:
        """The engine, be the pool closed or not."""
        notice_fork()
        return self._current

    @property
    def is_closed(self) -> bool:
        """Whether the pool was closed."""
        return self._is_closed

    def ready(self) -> Engine:
        """The engine for a call that does more than read a cached token. Raises ``PoolClosedError``."""
        notice_fork()
        if self._is_closed:
            raise closed().exception()
        if not self._suits_the_process():
            self._turning.do(self._suits_the_process, self._turn_to_gevent)
        return self._current

    def close(self) -> Engine:
        """Have nobody use the engine from now on; return it, to be stopped."""
        notice_fork()
        self._is_closed = True
        return self._current

    def after_fork(self) -> None:
        """In a forked child: fresh locks, sockets and dispatcher, no waiters; the tokens stay (G24)."""
        self._turning = Once()
        self._current.after_fork()
        self._counters.reset(self._current.runtime.monotonic())
        if not self._is_closed:
            self._restart()

    def _suits_the_process(self) -> bool:
        """Whether the engine is made for greenlets, if gevent has patched this process since it was made."""
        return not self._may_turn or self._current.runtime.name == "gevent" or not gevent_has_patched()

    def _turn_to_gevent(self) -> None:
        """gunicorn patches in its workers, after an application that it has preloaded made its pool."""
        make_runtime(
            "gevent"
        ).current_context()  # what gevent imports for its first hub, it imports while other threads wait
        self._current.transport.close()
        self._current.save()
        self._counters.grow(self._current.snapshots.in_progress())
        self._restart()

    def _restart(self) -> None:
        """Who waited at the old engine is none of the new one's."""
        self._breaker.begin_anew()
        self._current = self._make(self._current.dispatcher.breaker.fail_max)
