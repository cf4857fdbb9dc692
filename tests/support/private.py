"""The private names of the library that tests use: the one place to change when one of them moves.

A name is imported from its home when a test first asks for it, so that a test of what an import loads, or of one
without an extra, loads no more than it names.
"""

# ruff: noqa: F401 - what is imported here is for others

import ast
import importlib
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from colony_pool import ColonyPool
from colony_pool.pool import engines_of

if TYPE_CHECKING:
    from colony_pool import AsyncColonyPool
    from colony_pool._aio.agent import agent_behind
    from colony_pool._aio.attempt import AttemptTransport
    from colony_pool._aio.client import LoopClient
    from colony_pool._aio.options import PoolOptions
    from colony_pool._aio.pool import engine_behind
    from colony_pool._cli.host_status import HostStatus
    from colony_pool._cli.pool_sample import Sample, summarize
    from colony_pool._cli.render import Report, Section, advice, render, span
    from colony_pool._core import actions, coordinator, events, headers
    from colony_pool._core.account import Account
    from colony_pool._core.admission import Admission
    from colony_pool._core.backoff import jittered
    from colony_pool._core.breaker import CircuitBreaker
    from colony_pool._core.codes import CodeRequests
    from colony_pool._core.coordinator import Coordinator
    from colony_pool._core.denials import DenialCache, next_window
    from colony_pool._core.dispatcher import Dispatcher
    from colony_pool._core.events import Event, StateChanged
    from colony_pool._core.failure import (
        Failure,
        circuit_open,
        closed,
        from_outcome,
        from_status,
        from_stranger,
        held,
        no_code,
        overdue,
        renewed_lately,
        totp_hangs,
        unreadable,
    )
    from colony_pool._core.flight import Flight, InFlight, Permit, Waiter
    from colony_pool._core.guarded import GuardedCall
    from colony_pool._core.headers import Limit, LimitHeaders, http_date, tells_time
    from colony_pool._core.headers import read as read_headers
    from colony_pool._core.history import EndpointHistory, LossHistory
    from colony_pool._core.instant import Instant
    from colony_pool._core.limiter import ConcurrencyLimiter, _baseline, _LossStats
    from colony_pool._core.outcome import (
        _MAX_CODE,
        KINDS,
        LOCAL,
        MAX_TOKEN_CHARS,
        NETWORK_ERROR,
        OK,
        RATE_LIMITED,
        REJECTED,
        SERVER_ERROR,
        UNAVAILABLE,
        Outcome,
        bad_answer,
        classify,
        media_type,
    )
    from colony_pool._core.queue import Queue
    from colony_pool._core.rate_limit import RateLimit, Remaining
    from colony_pool._core.results import Results
    from colony_pool._core.retry_budget import RetryBudget
    from colony_pool._core.shared_state import HandledElsewhere, OpenState, SharedDenial, SharedState
    from colony_pool._core.token import MAX_LIFE, Token, TrackRecord, claims_expiry, issue, seconds_left
    from colony_pool._core.transitions import Transitions
    from colony_pool._core.waiters import Waiters
    from colony_pool._demo.agents import AgentGroup, Fetch, Maker, Schedule, capacity, spawner
    from colony_pool._demo.demo import DemoResult
    from colony_pool._demo.demo import play as play_demo
    from colony_pool._demo.processes import ALONE, SEPARATE, SHARED, Assignment, Progress
    from colony_pool._demo.report import page as demo_page
    from colony_pool._demo.screen import Screen
    from colony_pool._demo.table import notes as demo_notes
    from colony_pool._demo.table import rows as demo_rows
    from colony_pool._demo.timeline import Timeline, burst
    from colony_pool._driver.attempt import Attempt, AttemptRegistry
    from colony_pool._driver.credential import AgentState, Credential
    from colony_pool._driver.delivery import DeliveryQueue
    from colony_pool._driver.driver import Driver
    from colony_pool._driver.notifier import Notifier
    from colony_pool._driver.pybreaker_bridge import PoolBreaker
    from colony_pool._driver.token_cache import TokenCache, directory
    from colony_pool._driver.tokens import TokenPublisher, TokenSource
    from colony_pool._driver.wakeup import WakeupTimer
    from colony_pool._engine import Engine
    from colony_pool._http import dialer, resolver
    from colony_pool._http.api import prepare
    from colony_pool._http.cancel import CancelToken
    from colony_pool._http.connection import Connection
    from colony_pool._http.connection_health import ConnectionHealth, ConnectionRecord, LastFailure
    from colony_pool._http.dialer import Dialer, native_poll
    from colony_pool._http.failures import BadReply, NetworkFailure, RawResponse
    from colony_pool._http.resolver import Resolver
    from colony_pool._http.transport import HttpTransport
    from colony_pool._log import AT_ONCE, EventLog
    from colony_pool._metrics import counters
    from colony_pool._metrics.catalog import BY_NAME, COUNTER, GAUGE, HISTOGRAM, METRICS, PREFIX, Metric
    from colony_pool._metrics.counters import Counters, Histogram, Series
    from colony_pool._metrics.snapshot import Snapshot
    from colony_pool._runtime import threads
    from colony_pool._runtime.gevent import GeventRuntime
    from colony_pool._runtime.protocol import Runtime
    from colony_pool._runtime.thread_pool import Job, ThreadPool
    from colony_pool._runtime.threads import ThreadRuntime
    from colony_pool._runtime.turn import Turn
    from colony_pool._store import contended_lock as lock
    from colony_pool._store import health, redis, sqlite
    from colony_pool._store import host_file as place
    from colony_pool._store.boot_clock import BootClock
    from colony_pool._store.bounded import BoundedStore, Bounds
    from colony_pool._store.connection import VERBS, StoreConnection
    from colony_pool._store.factory import open_store
    from colony_pool._store.health import SLOW, WORKING, LatencyBudget, StoreHealth
    from colony_pool._store.health import UNAVAILABLE as STORE_UNAVAILABLE
    from colony_pool._store.host_file import host_file, state_directory
    from colony_pool._store.memory import MemoryStore
    from colony_pool._store.protocol import KeyState, Store, StoreReport, StoreUnavailable
    from colony_pool._store.record import EndpointRecord, Key
    from colony_pool._store.redis import RedisStore
    from colony_pool._store.sealing import Sealer, key_name
    from colony_pool._store.sqlite import SCHEMA, HostStore
    from colony_pool._store.worker import StoreWorker
    from colony_pool._weakset import ThreadSafeWeakSet
    from colony_pool.agent import pool_of, state_of
    from colony_pool.pool import metrics_of
    from colony_pool.prometheus._collector import Collector
    from colony_pool.prometheus._reader import PoolNumbers
    from colony_pool.prometheus._reader import read as read_numbers
    from colony_pool.prometheus._sidecar import reap, serve_directory, shared_registry
    from colony_pool.sdk._compat import _OVERRIDDEN as OVERRIDDEN
    from colony_pool.sdk._compat import check_async, check_sync, sdk
    from colony_pool.testing._tokens import subject


def _homes() -> dict[str, tuple[str, str]]:
    """NAME -> (module, name there), as the imports above say."""
    tree = ast.parse(pathlib.Path(__file__).read_text(encoding="utf-8"))
    homes = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            homes.update({name.asname or name.name: (node.module, name.name) for name in node.names})
    return homes


_HOMES = _homes()


def import_line(name: str) -> str:
    """The line that imports ``name`` from its home, for a program that does not find the tests."""
    module, there = _HOMES[name]
    return f"from {module} import {there} as {name}\n"


def engine_of(pool: ColonyPool) -> "Engine":
    """What works behind ``pool`` at this moment."""
    return engines_of(pool).current


def clients_of(pool: "AsyncColonyPool") -> Any:
    """The clients of the event loops that use ``pool``."""
    from colony_pool._aio.pool import engine_behind
    from colony_pool.sdk._replaced import tell_once

    clients = engine_behind(pool)._clients
    assert clients is not None, "httpx is here"
    return clients


def agents_of(pool: ColonyPool) -> Any:
    """The handles that ``pool`` knows."""
    return pool._agents


def exporter_of(pool: ColonyPool) -> Any:
    """What exports the metrics of ``pool``."""
    return pool._exporter


def waiting_for_a_name(pool: ColonyPool) -> int:
    """How many requests of ``pool`` wait for the addresses of a host. Those of an event loop share one."""
    network = engine_of(pool).network
    on_loops = [client.transport._dialer for clients in network.beside.all() for client in clients._all.all()]
    shared = sum(len(dialer._look_ups) for dialer in on_loops)
    names = network._pools.dialer._resolver._names
    return int(sum(len(name.waiting) for name in list(names.values())) + sum(d.waiting for d in on_loops) - shared)


def listen(pool: ColonyPool, listener: Callable[[Any], object]) -> None:
    """Have ``listener`` told of each event of ``pool``."""
    engine_of(pool).driver._notifier._listeners.append(listener)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"tests.support.private has no name {name!r}: add it to the imports there")
    module, there = _HOMES[name]
    home = importlib.import_module(module)
    # A module itself may be asked for, as well as what stands in one.
    return getattr(home, there) if hasattr(home, there) else importlib.import_module(f"{module}.{there}")
